# ntmm_sys(NAME SOURCES... [DEFINES...] [LIBS...]): a Windows driver NAME.sys, built by mingw beside the build tree.
find_program(NTMM_MINGW x86_64-w64-mingw32-gcc REQUIRED)
function(ntmm_sys name)
  cmake_parse_arguments(SYS "" "DEF" "SOURCES;DEFINES;OPTIONS" ${ARGN})
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${name}.sys)
  list(TRANSFORM SYS_DEFINES PREPEND -D)
  set(sources)
  foreach(s ${SYS_SOURCES})
    get_filename_component(s ${s} ABSOLUTE)
    list(APPEND sources ${s})
  endforeach()
  set(extra)
  if(SYS_DEF)
    # Names newer than mingw's import library: a second import library, and so a second import descriptor.
    get_filename_component(def ${SYS_DEF} ABSOLUTE)
    add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/lib${name}_new.a
      COMMAND x86_64-w64-mingw32-dlltool -d ${def} -l ${CMAKE_CURRENT_BINARY_DIR}/lib${name}_new.a
      DEPENDS ${def} VERBATIM)
    set(extra ${CMAKE_CURRENT_BINARY_DIR}/lib${name}_new.a)
  endif()
  add_custom_command(OUTPUT ${out}
    COMMAND ${NTMM_MINGW} -O2 -g -Wall -Wno-multichar -Wno-unknown-pragmas -I/usr/share/mingw-w64/include/ddk
      -D_AMD64_ -D_WIN64 ${SYS_DEFINES} ${SYS_OPTIONS}
      -shared -nostdlib -nostartfiles -Wl,--subsystem,native,--entry,DriverEntry,--exclude-all-symbols
      -Wl,--image-base,0x140000000,--file-alignment,0x200,--section-alignment,0x1000,--dynamicbase,--nxcompat
      ${sources} -o ${out} ${extra} -lntoskrnl -lhal -lgcc
    DEPENDS ${sources} ${extra} VERBATIM)
  add_custom_target(sys_${name} ALL DEPENDS ${out})
endfunction()
