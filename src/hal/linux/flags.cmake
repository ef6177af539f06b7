# The fault path runs inside whatever the program was doing, also inside a sanitizer's own runtime, and touches
# stacks and page tables that a sanitizer believes to be something else: these files are never instrumented.
set_source_files_properties(hal/linux/trap.c hal/linux/tlb.c hal/linux/stack.c hal/linux/offstack.c hal/linux/cfi.c PROPERTIES COMPILE_OPTIONS "-fno-sanitize=all")
