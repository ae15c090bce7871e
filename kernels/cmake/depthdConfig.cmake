# find_package(depthd) gives depthd::depthd: one header, nothing to link.
if(NOT TARGET depthd::depthd)
  add_library(depthd::depthd INTERFACE IMPORTED)
  get_filename_component(depthd_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/../include" ABSOLUTE)
  set_target_properties(depthd::depthd PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${depthd_INCLUDE_DIR}")
endif()
