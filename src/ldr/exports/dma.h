/*
 * dma.h - border.c: DMA adapters.
 * From include/nt/wdm/dma.h, one line a routine, sorted. SPDX-License-Identifier: MIT
 */
S(HalGetAdapter)
F(NTSTATUS, IoGetDeviceNumaNode, PDEVICE_OBJECT, PUSHORT)
S(IoGetDmaAdapter)
