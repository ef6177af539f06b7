# What of the suite the preset msan has, beside the checker tests (checkers.cmake) and the example driver's own: programs of C source alone.
# Driver binaries (.sys) write to memory without telling the sanitizer: what they hand to the core would be reported.
set(NTMM_NOT_HERE
  unit.border_test unit.cmd_test unit.dma_border_test unit.driver_test unit.image_paging_test unit.image_test unit.service_test
  unit.unwind_test ddi.section_image stress.images misuse.irql_rules # driver binaries, or images written byte by byte
  unit.report_test # calls jansson itself, whose writes are not seen
  unit.fillorder_test # counts how far a thread gets ahead of a device: not in a build this slow
  unit.explain_test unit.fail_each_test # read files of the other presets' build, or fork campaigns
)
# Programs that look, on purpose, at bytes that nobody wrote or that were given back: they are not instrumented, the library is.
set(NTMM_READS_GARBAGE
  unit.story_test # uses freed list entries
  ddi.ExAllocatePool2 ddi.ExAllocatePoolWithTag ddi.ExInitializeLookasideListEx
  ddi.dma # a transfer context that was not initialised has a status here
)
# What `make test` has time for: label and target core. The rest: make test-msan.
set(NTMM_CORE_TESTS
  ddi.ExAllocatePool2 ddi.ExAllocatePoolWithTag ddi.ExInitializeLookasideListEx ddi.ExInterlockedPushEntrySList ddi.mm_mdl ddi.mdl_pages
  ddi.mm_contiguous ddi.dma ddi.io_irp ddi.ZwSection ddi.PsCreateSystemThread unit.seh_test unit.pool_test misuse.pool_free misuse.lookaside)
