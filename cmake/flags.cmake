# Flags shared by everything we build. NTMM_SANITIZE is a list for -fsanitize= ("address,undefined", "thread" or "memory").
set(NTMM_SANITIZE "" CACHE STRING "comma-separated sanitizers")
option(NTMM_COVERAGE "build with gcov counters" OFF)
option(NTMM_DEEP "deep validation: MI_ASSERT_DEEP walks structures" OFF)

set(NTMM_DRIVER_FLAGS -fshort-wchar -fms-extensions -Wno-multichar -fno-omit-frame-pointer -fno-strict-aliasing)
# What source drivers get on top (ntmm.pc carries both): __try needs the edges of faulting instructions, and a NULL
# dereference is a fault, not undefined.
set(NTMM_SEH_FLAGS -fexceptions -fnon-call-exceptions -fno-delete-null-pointer-checks)
set(NTMM_WARNINGS -Wall -Wextra -Wundef -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
    -Wvla -Wpointer-arith -Wwrite-strings -Wno-unknown-pragmas)
if(CMAKE_C_COMPILER_ID MATCHES Clang)
  list(APPEND NTMM_DRIVER_FLAGS -Wno-microsoft)
  list(APPEND NTMM_WARNINGS -Wno-missing-field-initializers)
endif()

add_library(ntmm_flags INTERFACE)
target_compile_options(ntmm_flags INTERFACE ${NTMM_DRIVER_FLAGS} ${NTMM_WARNINGS} -g)
if(NTMM_SANITIZE)
  target_compile_options(ntmm_flags INTERFACE -fsanitize=${NTMM_SANITIZE} -fno-sanitize-recover=undefined)
  target_link_options(ntmm_flags INTERFACE -fsanitize=${NTMM_SANITIZE})
  if(NTMM_SANITIZE MATCHES undefined)
    # Drivers write through packed and misaligned pointers on x64 as a matter of course; NT's own flags are enums.
    target_compile_options(ntmm_flags INTERFACE -fno-sanitize=alignment,enum,vptr)
  endif()
  if(NTMM_SANITIZE MATCHES memory)
    # Where the bytes came from, and an uninitialised argument reported where it is passed: what was not built for the sanitizer can
    # then call what was.
    target_compile_options(ntmm_flags INTERFACE -fsanitize-memory-track-origins=2 -fsanitize-memory-param-retval)
    target_compile_definitions(ntmm_flags INTERFACE NTMM_MSAN=1)
  endif()
  target_compile_definitions(ntmm_flags INTERFACE NTMM_SANITIZED=1)
else()
  target_compile_definitions(ntmm_flags INTERFACE NTMM_SANITIZED=0)
endif()
if(NTMM_COVERAGE)
  target_compile_options(ntmm_flags INTERFACE --coverage -fprofile-update=atomic)
  target_link_options(ntmm_flags INTERFACE --coverage)
endif()
target_compile_definitions(ntmm_flags INTERFACE NTMM_DEEP=$<BOOL:${NTMM_DEEP}>)
