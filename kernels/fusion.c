/* written next */ typedef int depthd_fusion_placeholder;
