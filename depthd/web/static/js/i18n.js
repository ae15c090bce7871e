// The page's words. Every key stands in both languages; tests/unit/test_web_page.py sees to it.

export const WORDS = {
  en: {
    fps: "frames/s", glass: "glass to glass", language: "Language", theme: "Light or dark (t)", help: "Keys (?)",
    left_side: "Left", right_side: "Right", swap: "Exchange (x)", mode_wipe: "Side by side", mode_grid: "All", mode_cloud: "Cloud",
    freeze: "Freeze", step: "Step", measure: "Measure", outline: "Outline near", coloured_by: "Coloured by", by_picture: "picture", by_source: "source", home: "Camera's view",
    picture_label: "Pictures; arrow keys move the pointer", divider: "Divider between the two pictures",
    pixel: "Pixel", depth: "Fused depth", stereo: "Stereo depth", source: "Source", sigma: "Sigma", position: "Position x, y, z (m)", distance: "Distance",
    colour_map: "Colours", scale: "Scale", logarithmic: "logarithmic", linear: "linear", automatic: "automatic range",
    near_title: "Too near for stereo", nearest: "nearest", shares_title: "Where depth comes from", plots_title: "Plots", health_title: "Health", download_title: "Download this frame",
    samples_hint: "To see stereo against mono, publish mono: shared_memory.planes: [left, stereo_depth, mono]",
    configuration: "Configuration in force", record: "Record", keys_title: "Keys", close: "Close",
    panel_left: "Left picture", panel_stereo: "Stereo depth", panel_depth: "Fused depth", panel_source: "Source map", panel_sigma: "Sigma", panel_difference: "Difference",
    source_invalid: "no depth", source_stereo: "stereo", source_mono_near: "mono: too near", source_mono_hole: "mono: hole", source_mono_overruled: "mono: stereo overruled", source_blend: "blend at the rim",
    scale_depth: "Depth (m)", scale_sigma: "Sigma (%)", scale_difference_mono: "Mono against stereo (%)", scale_difference: "Fused against stereo (%)", scale_source: "Source",
    hole_near: "too near", hole_far: "too far", hole_unmatched: "unmatched",
    state_starting: "starting", state_running: "running", state_waiting: "waiting for frames", state_stopped: "depthd is not running", state_disconnected: "no connection", state_unreadable: "not readable", state_frozen: "frozen", state_lost: "camera lost", state_opening: "opening camera",
    fit_fitted: "fitted", fit_held: "fit held", fit_unfit: "no fit",
    plot_scatter: "Stereo against mono, inverse depth (1/m)", plot_residual_depth: "Residual of mono by depth (%)", plot_histogram: "Residual of mono (%), share of samples", plot_fit: "Fit over time: scale and shift", plot_latency: "Latency per stage (ms)", plot_fps: "Frames per second", plot_shares: "Share per source (%)", plot_temperature: "Temperature (°C)",
    inliers: "inliers", outliers: "outliers", line: "fit", median: "median", spread: "16–84 %", fit_scale: "scale", fit_shift: "shift",
    health_camera: "Camera", health_misses: "Missed deadlines", health_dropped: "Dropped frames", health_reconnects: "Reconnects", health_process: "Process", health_viewers: "Viewers", health_versions: "Versions", health_temperature: "Temperature", health_frame: "Frame", health_fit: "Fit", health_decode: "Decoded here in", health_model: "Camera model",
    key_panels: "right picture", key_panels_left: "left picture", key_freeze: "freeze, go on", key_step: "one frame on", key_mode: "side by side, all, cloud", key_measure: "measure between two points", key_outline: "outline what is too near", key_pointer: "move the pointer (Shift: 10 px), Enter: measure here", key_divider: "on the divider: move it", key_swap: "exchange left and right", key_theme: "light or dark", key_language: "language",
    cloud_hint: "drag: turn · right button or two fingers: move · wheel: nearer", no_webgl: "This browser has no WebGL, so the cloud cannot be drawn.",
    judge: "Judge", judge_title: "Judge the geometry", judge_hint: "Drag over a plane or a sphere, or click a point whose distance you have measured.", judge_kind: "Shape", judge_depth: "Depth", plane: "plane", sphere: "sphere", judge_region: "Region x,y,width,height (px)", judge_fit: "Fit", judge_at: "Pixel x,y", judge_compare: "Compare", judge_picture: "Residual of the fit", key_judge: "judge a region; Enter: its corners",
    judge_rms_mm: "RMS (mm)", judge_normal: "Normal", judge_tilt_degrees: "Against the image plane (°)", judge_plane_distance_m: "Distance of the plane (m)", judge_radius_mm: "Radius (mm)", judge_centre_m: "Centre (m)", judge_points: "Points", judge_outlier_percent: "Outliers (%)", judge_fused_mm: "Fused (mm)", judge_fused_error_mm: "Fused, error (mm)", judge_fused_error_percent: "Fused, error (%)", judge_stereo_mm: "Stereo (mm)", judge_stereo_error_mm: "Stereo, error (mm)", judge_stereo_error_percent: "Stereo, error (%)",
    knobs_title: "Knobs", knobs_hint: "Changed at once, until depthd is reloaded or started again.", knobs_token: "To change them, start depthd view with a token.",
  },
  ja: {
    fps: "フレーム/秒", glass: "撮影から表示まで", language: "言語", theme: "明暗の切替 (t)", help: "キー一覧 (?)",
    left_side: "左", right_side: "右", swap: "左右を入れ替え (x)", mode_wipe: "左右比較", mode_grid: "一覧", mode_cloud: "点群",
    freeze: "静止", step: "コマ送り", measure: "計測", outline: "近すぎる領域を囲む", coloured_by: "色", by_picture: "画像", by_source: "由来", home: "カメラ視点",
    picture_label: "画像。矢印キーでポインタを動かします", divider: "左右の境界",
    pixel: "画素", depth: "統合深度", stereo: "ステレオ深度", source: "由来", sigma: "標準偏差", position: "位置 x, y, z (m)", distance: "距離",
    colour_map: "配色", scale: "目盛", logarithmic: "対数", linear: "線形", automatic: "範囲を自動調整",
    near_title: "ステレオには近すぎる領域", nearest: "最短", shares_title: "深度の由来", plots_title: "グラフ", health_title: "状態", download_title: "このフレームを保存",
    samples_hint: "ステレオと単眼の比較には mono を公開してください: shared_memory.planes: [left, stereo_depth, mono]",
    configuration: "現在の設定", record: "録画", keys_title: "キー一覧", close: "閉じる",
    panel_left: "左画像", panel_stereo: "ステレオ深度", panel_depth: "統合深度", panel_source: "由来マップ", panel_sigma: "標準偏差", panel_difference: "差",
    source_invalid: "深度なし", source_stereo: "ステレオ", source_mono_near: "単眼: 近すぎる", source_mono_hole: "単眼: 穴", source_mono_overruled: "単眼: ステレオを却下", source_blend: "境目の混合",
    scale_depth: "深度 (m)", scale_sigma: "標準偏差 (%)", scale_difference_mono: "ステレオに対する単眼 (%)", scale_difference: "ステレオに対する統合 (%)", scale_source: "由来",
    hole_near: "近すぎる", hole_far: "遠すぎる", hole_unmatched: "対応なし",
    state_starting: "起動中", state_running: "動作中", state_waiting: "フレーム待ち", state_stopped: "depthd が動いていません", state_disconnected: "接続なし", state_unreadable: "読めません", state_frozen: "静止中", state_lost: "カメラ喪失", state_opening: "カメラを開いています",
    fit_fitted: "適合", fit_held: "適合を保持", fit_unfit: "適合なし",
    plot_scatter: "ステレオと単眼の逆深度 (1/m)", plot_residual_depth: "深度ごとの単眼の残差 (%)", plot_histogram: "単眼の残差 (%) の分布", plot_fit: "適合の推移: 倍率とずれ", plot_latency: "段階ごとの遅延 (ms)", plot_fps: "毎秒フレーム数", plot_shares: "由来の割合 (%)", plot_temperature: "温度 (°C)",
    inliers: "採用", outliers: "除外", line: "適合", median: "中央値", spread: "16–84 %", fit_scale: "倍率", fit_shift: "ずれ",
    health_camera: "カメラ", health_misses: "期限超過", health_dropped: "落ちたフレーム", health_reconnects: "再接続", health_process: "プロセス", health_viewers: "閲覧者", health_versions: "版", health_temperature: "温度", health_frame: "フレーム", health_fit: "適合", health_decode: "ここでの復号", health_model: "カメラモデル",
    key_panels: "右の画像", key_panels_left: "左の画像", key_freeze: "静止・再開", key_step: "1フレーム進む", key_mode: "左右比較・一覧・点群", key_measure: "2点間を計測", key_outline: "近すぎる領域を囲む", key_pointer: "ポインタを動かす (Shift: 10 px)、Enter: ここを計測", key_divider: "境界の上で: 動かす", key_swap: "左右を入れ替え", key_theme: "明暗", key_language: "言語",
    cloud_hint: "ドラッグ: 回転 · 右ボタンか二本指: 移動 · ホイール: 拡大", no_webgl: "このブラウザには WebGL がなく、点群を描けません。",
    judge: "評価", judge_title: "形の評価", judge_hint: "平面や球の上をドラッグするか、距離を測った点をクリックしてください。", judge_kind: "形", judge_depth: "深度", plane: "平面", sphere: "球", judge_region: "領域 x,y,幅,高さ (px)", judge_fit: "当てはめ", judge_at: "画素 x,y", judge_compare: "比較", judge_picture: "当てはめの残差", key_judge: "領域を評価。Enter: 角を決める",
    judge_rms_mm: "RMS (mm)", judge_normal: "法線", judge_tilt_degrees: "画像面との角度 (°)", judge_plane_distance_m: "平面までの距離 (m)", judge_radius_mm: "半径 (mm)", judge_centre_m: "中心 (m)", judge_points: "点数", judge_outlier_percent: "外れ値 (%)", judge_fused_mm: "統合 (mm)", judge_fused_error_mm: "統合の誤差 (mm)", judge_fused_error_percent: "統合の誤差 (%)", judge_stereo_mm: "ステレオ (mm)", judge_stereo_error_mm: "ステレオの誤差 (mm)", judge_stereo_error_percent: "ステレオの誤差 (%)",
    knobs_title: "調整", knobs_hint: "すぐに効き、depthd の再読込か再起動まで続きます。", knobs_token: "変更するには depthd view をトークン付きで起動してください。",
  },
};

let language = "en";
const listeners = [];

export function t(key) {
  return WORDS[language][key] ?? key;
}

export function currentLanguage() {
  return language;
}

/** Calls back now and whenever the language changes. */
export function onLanguage(listener) {
  listeners.push(listener);
  listener();
}

export function setLanguage(name) {
  language = name in WORDS ? name : "en";
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-i18n]")) element.textContent = t(element.dataset.i18n);
  for (const element of document.querySelectorAll("[data-i18n-title]")) element.title = t(element.dataset.i18nTitle);
  for (const element of document.querySelectorAll("[data-i18n-label]")) element.setAttribute("aria-label", t(element.dataset.i18nLabel));
  for (const listener of listeners) listener();
}
