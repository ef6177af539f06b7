# The fault path runs inside whatever the program was doing, also inside a sanitizer's own runtime, and touches
# stacks and page tables that a sanitizer believes to be something else: these files are never instrumented.
# The memory sanitizer's code only marks what the others write, which their callers must be able to see; trap.c, which runs between any
# two instructions, marks and keeps by itself.
set(uninstrumented hal/linux/trap.c)
if(NOT NTMM_SANITIZE MATCHES memory)
  list(APPEND uninstrumented hal/linux/tlb.c hal/linux/stack.c hal/linux/offstack.c hal/linux/cfi.c)
endif()
set_source_files_properties(${uninstrumented} PROPERTIES COMPILE_OPTIONS "-fno-sanitize=all")
