/*
 * dma.h - border.c: DMA adapters.
 * From include/nt/wdm/dma.h, one line a routine, sorted. SPDX-License-Identifier: MIT
 */
N(HalAllocateCommonBuffer, IopAllocateCommonBuffer)
N(HalFreeCommonBuffer, IopFreeCommonBuffer)
S(HalGetAdapter)
N(HalReadDmaCounter, IopReadDmaCounter)
N(IoAllocateAdapterChannel, IopAllocateAdapterChannel)
N(IoFlushAdapterBuffers, IopFlushAdapterBuffers)
N(IoFreeAdapterChannel, IopFreeAdapterChannel)
N(IoFreeMapRegisters, IopFreeMapRegisters)
F(NTSTATUS, IoGetDeviceNumaNode, PDEVICE_OBJECT, PUSHORT)
S(IoGetDmaAdapter)
N(IoMapTransfer, IopMapTransfer)
