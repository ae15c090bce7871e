"""The world that the virtual camera looks at: solids, materials, scenes, and the ray caster that takes its
picture.
"""
