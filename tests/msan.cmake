# What of the suite the preset msan has, beside the checker tests (checkers.cmake) and the example driver's own: programs of C source alone.
# Driver binaries (.sys) write to memory without telling the sanitizer: what they hand to the core would be reported.
set(NTMM_NOT_HERE
  unit.border_test unit.cmd_test unit.dma_border_test unit.driver_test unit.image_paging_test unit.image_test unit.service_test
  unit.unwind_test ddi.section_image stress.images misuse.irql_rules # driver binaries, or images written byte by byte
  unit.explain_test unit.fail_each_test # read files of the other presets' build, or fork campaigns
)
# Programs that look, on purpose, at bytes that nobody wrote or that were given back: they are not instrumented, the library is.
set(NTMM_READS_GARBAGE
  ddi.ExAllocatePool2 ddi.ExAllocatePoolWithTag
  ddi.dma # a transfer context that was not initialised has a status here
)
