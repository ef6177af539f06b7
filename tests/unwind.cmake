# A driver with __try for unwind_test.c. mingw's gcc has no __try; clang has it for this target from version 15 on.
find_program(NTMM_PE_CLANG NAMES clang-19 clang-18 clang-17 clang-16 clang-15)
find_program(NTMM_PE_LINK NAMES x86_64-w64-mingw32-gcc)
if(NTMM_PE_CLANG AND NTMM_PE_LINK AND TARGET test_unit.unwind_test)
  foreach(level 0 2)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/tries${level}.obj)
    set(tries ${CMAKE_CURRENT_BINARY_DIR}/tries${level}.sys)
    add_custom_command(OUTPUT ${tries}
      COMMAND ${NTMM_PE_CLANG} -target x86_64-w64-windows-gnu -fms-extensions -Xclang -fasync-exceptions -O${level} -g -gdwarf-4
        -Wno-microsoft -c ${CMAKE_CURRENT_LIST_DIR}/sys/tries.c -o ${object}
      COMMAND ${NTMM_PE_LINK} -shared -nostdlib -nostartfiles -Wl,--subsystem,native,--entry,DriverEntry
        -Wl,--image-base,0x140000000,--file-alignment,0x200,--section-alignment,0x1000,--dynamicbase,--nxcompat
        ${object} -o ${tries} -lntoskrnl -lgcc
      DEPENDS ${CMAKE_CURRENT_LIST_DIR}/sys/tries.c VERBATIM)
    add_custom_target(sys_tries${level} ALL DEPENDS ${tries})
    add_dependencies(test_unit.unwind_test sys_tries${level})
  endforeach()
  target_compile_definitions(test_unit.unwind_test PRIVATE NTMM_TRIES="${CMAKE_CURRENT_BINARY_DIR}/tries")
endif()
if(TARGET test_unit.unwind_test)
  set_tests_properties(unit.unwind_test PROPERTIES SKIP_RETURN_CODE 77)
endif()
