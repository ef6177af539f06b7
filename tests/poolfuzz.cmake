# The pools under libFuzzer: their own files instrumented by clang, over the library as it is. The linker takes the instrumented
# ones first. Only in the plain gcc preset; tests/stress/pool_model_test.c is the same from seeds, in every preset.
if(NTMM_FUZZ_CLANG AND NOT NTMM_SANITIZE AND NOT NTMM_COVERAGE AND NOT NTMM_DEEP AND CMAKE_C_COMPILER_ID STREQUAL GNU)
  file(GLOB pool_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/ex/*.c)
  set(pool_flags -g -O1 -fno-omit-frame-pointer -fno-strict-aliasing -fshort-wchar -fms-extensions -Wno-microsoft
    -Wno-multichar -I${PROJECT_SOURCE_DIR}/include/nt -I${PROJECT_SOURCE_DIR}/include/ntmm -I${PROJECT_SOURCE_DIR}/src
    -DNTMM_DEEP=0 -DNTMM_SANITIZED=0)
  set(pool_objects)
  foreach(source ${pool_sources})
    get_filename_component(name ${source} NAME_WE)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/pool_fuzz_${name}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${NTMM_FUZZ_CLANG} -c ${pool_flags} -DNTMM_BUILD=1 -ffreestanding -fasynchronous-unwind-tables -mgeneral-regs-only
        -fvisibility=hidden -fsanitize=fuzzer-no-link -MD -MF ${object}.d ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d VERBATIM)
    list(APPEND pool_objects ${object})
  endforeach()
  set(object ${CMAKE_CURRENT_BINARY_DIR}/pool_fuzz_main.o)
  add_custom_command(OUTPUT ${object}
    COMMAND ${NTMM_FUZZ_CLANG} -c ${pool_flags} -D_GNU_SOURCE -fsanitize=fuzzer-no-link
      -MD -MF ${object}.d ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/pool_fuzz.c -o ${object}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/pool_fuzz.c DEPFILE ${object}.d VERBATIM)
  execute_process(COMMAND ${NTMM_FUZZ_CLANG} -print-file-name=libclang_rt.fuzzer-x86_64.a OUTPUT_VARIABLE fuzzer_runtime
    OUTPUT_STRIP_TRAILING_WHITESPACE)
  add_executable(pool_fuzz ${object} ${pool_objects})
  set_target_properties(pool_fuzz PROPERTIES LINKER_LANGUAGE C)
  target_link_libraries(pool_fuzz PRIVATE ${fuzzer_runtime} ntmm_static stdc++ m)
  set(NTMM_POOL_FUZZ_SECONDS 60 CACHE STRING "how long the fuzz.pool test runs")
  add_test(NAME fuzz.pool COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/run-pool-fuzz ${CMAKE_CURRENT_BINARY_DIR}
    ${NTMM_POOL_FUZZ_SECONDS})
  set_tests_properties(fuzz.pool PROPERTIES LABELS fuzz TIMEOUT 4000)
endif()
