# What is installed: libntmm.so and libntmm.a, the headers, the command, ntmm.pc and a CMake package.
# Neither library shows any symbol but the NT names and ntmm_*: the sources are built with hidden visibility, and the
# static library is one relocatable object whose hidden symbols are made local.
if(NOT TARGET ntmm_host OR NOT TARGET ntmm_hal_linux)
  return()
endif()
if(NTMM_COVERAGE)
  return() # the tree is for its own tests
endif()
get_target_property(kind ntmm_host TYPE)
if(NOT kind STREQUAL OBJECT_LIBRARY)
  return()
endif()

add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/libntmm.a
  COMMAND ${CMAKE_LINKER} -r --whole-archive $<TARGET_FILE:ntmm_static> -o ntmm_whole.o
  COMMAND ${CMAKE_OBJCOPY} --localize-hidden ntmm_whole.o
  COMMAND ${CMAKE_COMMAND} -E rm -f libntmm.a
  COMMAND ${CMAKE_AR} qcs libntmm.a ntmm_whole.o
  WORKING_DIRECTORY ${PROJECT_BINARY_DIR} DEPENDS ntmm_static VERBATIM)
add_custom_target(ntmm_archive ALL DEPENDS ${PROJECT_BINARY_DIR}/libntmm.a)
install(FILES ${PROJECT_BINARY_DIR}/libntmm.a DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/nt/ include/ntmm/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ntmm FILES_MATCHING PATTERN "*.h")
configure_file(cmake/ntmm.pc.in ${PROJECT_BINARY_DIR}/ntmm.pc @ONLY)
install(CODE "
  set(prefix \"\${CMAKE_INSTALL_PREFIX}\")
  file(READ \"${PROJECT_BINARY_DIR}/ntmm.pc\" text)
  string(REPLACE \"%PREFIX%\" \"\${prefix}\" text \"\${text}\")
  file(WRITE \"\$ENV{DESTDIR}\${prefix}/${CMAKE_INSTALL_LIBDIR}/pkgconfig/ntmm.pc\" \"\${text}\")")
if(NTMM_SANITIZE)
  return() # for programs that are built with it: the runtime is the program's, so there is the static library alone
endif()

add_library(ntmm_shared SHARED ${PROJECT_SOURCE_DIR}/cmake/empty.c)
set_target_properties(ntmm_shared PROPERTIES OUTPUT_NAME ntmm VERSION ${PROJECT_VERSION} SOVERSION 0)
target_link_libraries(ntmm_shared PRIVATE -Wl,--whole-archive ntmm_static -Wl,--no-whole-archive ntmm_flags)
target_link_options(ntmm_shared PRIVATE -Wl,-Bsymbolic -Wl,-z,defs)

install(TARGETS ntmm_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET ntmm)
  install(TARGETS ntmm RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
configure_file(cmake/ntmm-config.cmake.in ${PROJECT_BINARY_DIR}/ntmm-config.cmake @ONLY)
include(CMakePackageConfigHelpers)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/ntmm-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ntmm-config.cmake ${PROJECT_BINARY_DIR}/ntmm-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/ntmm)
