# Slicer packs the extension here; all that a stub can check is that everything else came before.
if(NOT EXISTS "${CMAKE_BINARY_DIR}/extension.txt")
  message(FATAL_ERROR "Slicer_EXTENSION_GENERATE_CONFIG belongs before Slicer_EXTENSION_CPACK")
endif()
