/*
 * mm.h - border.c: the memory manager.
 * From include/nt/wdm/mm.h, one line a routine, sorted. SPDX-License-Identifier: MIT
 */
D(Mm64BitPhysicalAddress)
F(PHYSICAL_ADDRESS, MmGetPhysicalAddress, PVOID)
F(PVOID, MmGetVirtualForPhysical, PHYSICAL_ADDRESS)
D(MmHighestUserAddress)
F(BOOLEAN, MmIsAddressValid, PVOID)
F(BOOLEAN, MmIsNonPagedSystemAddressValid, PVOID)
F0(BOOLEAN, MmIsThisAnNtAsSystem)
F0(MM_SYSTEMSIZE, MmQuerySystemSize)
D(MmSystemRangeStart)
D(MmUserProbeAddress)
