# Install rules, and the package that find_package(harmonizer) finds. Nothing in it is absolute.

include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/harmonizer")

install(TARGETS harmonizer EXPORT harmonizerTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES include/harmonizer.h include/harmonizer.hpp include/harmonizer_cuda.h
  include/harmonizer_surface.h include/harmonizer_surface.hpp
  include/harmonizer_video.h include/harmonizer_video.hpp
  "${kernels_dir}/hz_operations.h" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(kernels_image)
  install(FILES "${kernels_image}" DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

install(EXPORT harmonizerTargets NAMESPACE harmonizer:: DESTINATION ${package_dir})
configure_package_config_file(cmake/harmonizerConfig.cmake.in harmonizerConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(harmonizerConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/harmonizerConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/harmonizerConfigVersion.cmake" DESTINATION ${package_dir})

# The same for those who do not build with CMake.
file(RELATIVE_PATH to_prefix "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
set(needed "")
if(NOT BUILD_SHARED_LIBS)
  set(needed "-lstdc++ -lm -pthread -ldl")
endif()
configure_file(cmake/harmonizer.pc.in harmonizer.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/harmonizer.pc"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
install(FILES ../../LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# `cpack` makes a tar.gz that can be unpacked anywhere, `cpack -G DEB` a package of Debian's kind.
set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_VENDOR "The harmonizer project")
set(CPACK_PACKAGE_CONTACT "The maintainers of harmonizer")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Image harmonization with photo filters: C and C++ library")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_NAME libharmonizer-dev)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON) # which glibc it needs
include(CPack)
