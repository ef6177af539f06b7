/*
 * mdl.c - cases of the detection matrix: MDLs, mappings of them and of I/O space, contiguous memory. SPDX-License-Identifier: MIT
 */
#include "matrix.h"

/* ---- MDLs and mappings ---- */
SIN(1A_1240)
{
    PUCHAR B = Paged(PAGE_SIZE);
    PMDL Mdl = IoAllocateMdl(B, 64, FALSE, FALSE, NULL);
    Expect(0x1A, 0x1240, P(Mdl), ANY, 0);
    MmBuildMdlForNonPagedPool(Mdl);
}
RIGHT(1A_1240)
{
    PUCHAR B = NonPaged(PAGE_SIZE);
    PMDL Mdl = IoAllocateMdl(B, 64, FALSE, FALSE, NULL);
    MmBuildMdlForNonPagedPool(Mdl);
    Sink = *(PUCHAR)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    IoFreeMdl(Mdl);
    ExFreePool(B);
}
SIN(1A_1235)
{
    PUCHAR B = Paged(PAGE_SIZE);
    PMDL Mdl = IoAllocateMdl(B, 64, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    MmUnmapLockedPages(Mdl->MappedSystemVa, Mdl);
    Mdl->MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA; /* a stale copy says so */
    Expect(0x1A, 0x1235, ANY, ANY, ANY);
    (void)MmProtectMdlSystemAddress(Mdl, PAGE_READONLY);
}
SIN(1A_1236)
{
    PMDL Mdl = IoAllocateMdl((PVOID)(ULONG_PTR)PAGE_SIZE, 64, FALSE, FALSE, NULL);
    MmGetMdlPfnArray(Mdl)[0] = 0x123456789;
    Mdl->MdlFlags |= MDL_PAGES_LOCKED;
    Expect(0x1A, 0x1236, P(Mdl), P(&MmGetMdlPfnArray(Mdl)[0]), 0x123456789);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
}
SIN(1A_1233)
{
    PPHYSICAL_MEMORY_RANGE Last = MmGetPhysicalMemoryRanges();
    PHYSICAL_ADDRESS Ram;
    while (Last[1].NumberOfBytes.QuadPart != 0)
        Last++;
    Ram.QuadPart = Last->BaseAddress.QuadPart + Last->NumberOfBytes.QuadPart / 2; /* nobody's yet */
    Expect(0x1A, 0x1233, ANY, 0, 0);
    (void)MmMapIoSpace(Ram, PAGE_SIZE, MmNonCached);
}
SIN(1A_15000)
{
    Expect(0x1A, 0x15000, 0x12345000, 0, 0);
    MmUnsecureVirtualMemory((HANDLE)(ULONG_PTR)0x12345000);
}
SIN(4E_7)
{
    PMDL Mdl = IoAllocateMdl(Paged(PAGE_SIZE), 64, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    MmUnlockPages(Mdl);
    Mdl->MdlFlags |= MDL_PAGES_LOCKED; /* a copy of the MDL */
    Expect(0x4E, 7, MmGetMdlPfnArray(Mdl)[0], ANY, 0);
    MmUnlockPages(Mdl);
}
RIGHT(4E_7)
{
    PMDL Mdl = IoAllocateMdl(Paged(PAGE_SIZE), 64, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    MmUnlockPages(Mdl);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
}
SIN(4E_9A)
{
    PHYSICAL_ADDRESS Low = {.QuadPart = 0}, High = {.QuadPart = -1}, Skip = {.QuadPart = 0};
    PMDL Mdl = MmAllocatePagesForMdlEx(Low, High, Skip, PAGE_SIZE, MmCached, 0);
    PUCHAR Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    PMDL Other = IoAllocateMdl(Va, 64, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Other, KernelMode, IoReadAccess);
    Expect(0x4E, 0x9A, MmGetMdlPfnArray(Mdl)[0], ANY, ANY);
    MmFreePagesFromMdl(Mdl);
}
RIGHT(4E_9A)
{
    PHYSICAL_ADDRESS Low = {.QuadPart = 0}, High = {.QuadPart = -1}, Skip = {.QuadPart = 0};
    PMDL Mdl = MmAllocatePagesForMdlEx(Low, High, Skip, PAGE_SIZE, MmCached, 0);
    PUCHAR Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Va[0] = 1;
    MmUnmapLockedPages(Va, Mdl);
    MmFreePagesFromMdl(Mdl);
    ExFreePool(Mdl);
}
SIN(3F_0)
{
    PUCHAR B = NonPaged(64 * PAGE_SIZE);
    unsigned Index;
    Expect(0x3F, 0, ANY, ANY, ANY);
    for (Index = 0; Index < 1000; Index++) {
        PMDL Mdl = IoAllocateMdl(B, 64 * PAGE_SIZE, FALSE, FALSE, NULL);
        MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
        (void)MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, TRUE, HighPagePriority);
    }
}
SIN(DA_2)
{
    PMDL Mdl = LockedMdl(2 * PAGE_SIZE);
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Mdl->ByteCount = 10;
    Expect(0xDA, 2, P(Mdl), 2, 1);
    MmUnmapLockedPages(Va, Mdl);
}
SIN(DA_3)
{
    PMDL Mdl = LockedMdl(2 * PAGE_SIZE);
    PUCHAR Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Expect(0xDA, 3, P(Mdl), P(Va), P(Va) + PAGE_SIZE);
    MmUnmapLockedPages(Va + PAGE_SIZE, Mdl);
}
SIN(DA_4)
{
    PMDL Mdl = LockedMdl(2 * PAGE_SIZE);
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    uint64_t First = MmGetMdlPfnArray(Mdl)[0];
    MmGetMdlPfnArray(Mdl)[0] = 77;
    Expect(0xDA, 4, P(Mdl), First, 77);
    MmUnmapLockedPages(Va, Mdl);
}
SIN(DA_6)
{
    PMDL Mdl = LockedMdl(2 * PAGE_SIZE);
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    MmUnmapLockedPages(Va, Mdl);
    Expect(0xDA, 6, P(Mdl), P(Va), 2);
    MmUnmapLockedPages(Va, Mdl);
}
RIGHT(DA)
{
    PMDL Mdl = LockedMdl(2 * PAGE_SIZE);
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    MmUnmapLockedPages(Va, Mdl);
    Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Sink = *(PUCHAR)Va;
    MmUnlockPages(Mdl); /* takes the mapping with it */
    IoFreeMdl(Mdl);
}
SIN(DA_400)
{
    PUCHAR B = NonPaged(PAGE_SIZE);
    Expect(0xDA, 0x400, P(B), 1, 0);
    MmUnmapIoSpace(B, PAGE_SIZE);
}
SIN(C4_B0)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Expect(0xC4, 0xB0, P(Mdl), ANY, ANY);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
}
SIN(C4_B2)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Expect(0xC4, 0xB2, P(Mdl), ANY, ANY);
    (void)MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
}

/* ---- memory routines above the IRQL they allow ---- */
SIN(C4_70)
{
    PMDL Mdl = IoAllocateMdl(NonPaged(64), 64, FALSE, FALSE, NULL);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x70, DISPATCH_LEVEL + 1, P(Mdl), KernelMode);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
}
RIGHT(C4_70)
{
    PMDL Mdl = IoAllocateMdl(NonPaged(64), 64, FALSE, FALSE, NULL);
    KIRQL Old = Raise(DISPATCH_LEVEL);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    MmUnlockPages(Mdl);
    KeLowerIrql(Old);
    IoFreeMdl(Mdl);
}
SIN(C4_73)
{
    PHYSICAL_ADDRESS Device = {.QuadPart = 0xFD000000};
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x73, DISPATCH_LEVEL + 1, 0xFD000000, 4096);
    (void)MmMapIoSpace(Device, 4096, MmNonCached);
}
SIN(C4_74)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x74, DISPATCH_LEVEL + 1, P(Mdl), KernelMode);
    (void)(MmMapLockedPages)(Mdl, KernelMode);
}
SIN(C4_76)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x76, DISPATCH_LEVEL + 1, P(Mdl), KernelMode);
    (void)MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
}
SIN(C4_77)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x77, DISPATCH_LEVEL, P(Mdl), UserMode);
    (void)MmMapLockedPagesSpecifyCache(Mdl, UserMode, MmCached, NULL, FALSE, NormalPagePriority);
}
SIN(C4_78)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x78, DISPATCH_LEVEL + 1, P(Mdl), 0);
    MmUnlockPages(Mdl);
}
SIN(C4_79)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x79, DISPATCH_LEVEL + 1, P(Va), P(Mdl));
    MmUnmapLockedPages(Va, Mdl);
}
SIN(C4_7E)
{
    PHYSICAL_ADDRESS Low = {.QuadPart = 0}, High = {.QuadPart = -1}, Skip = {.QuadPart = 0};
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x7E, DISPATCH_LEVEL + 1, ANY, 0);
    (void)MmAllocatePagesForMdlEx(Low, High, Skip, PAGE_SIZE, MmCached, 0);
}
SIN(C4_B8)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Expect(0xC4, 0xB8, P(Mdl), ANY, ANY);
    IoFreeMdl(Mdl);
}
SIN(D8)
{
    PUCHAR B = NonPaged(64 * PAGE_SIZE);
    unsigned Index;
    Expect(0xD8, ANY, ANY, ANY, ANY);
    for (Index = 0; Index < 1000; Index++) {
        PMDL Mdl = IoAllocateMdl(B, 64 * PAGE_SIZE, FALSE, FALSE, NULL);
        MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
        (void)MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, TRUE, HighPagePriority);
    }
}

/* ---- what only a verified driver is told ---- */
static PMDL FreshMdl(SIZE_T Bytes)
{
    return IoAllocateMdl(NonPaged(Bytes), (ULONG)Bytes, FALSE, FALSE, NULL);
}
static PVOID UserMap(PMDL Mdl)
{
    return MmMapLockedPagesSpecifyCache(Mdl, UserMode, MmCached, NULL, FALSE, NormalPagePriority | MdlMappingNoExecute);
}
SIN(C4_6F)
{
    PVOID Registers = MmMapIoSpace(At(0xFD000000), PAGE_SIZE, MmNonCached);
    PMDL Mdl = IoAllocateMdl(Registers, PAGE_SIZE, FALSE, FALSE, NULL);
    Expect(0xC4, 0x6F, P(Mdl), 0xFD000, ANY);
    MmProbeAndLockPages(Mdl, KernelMode, IoWriteAccess);
}
RIGHT(iospace)
{
    PVOID Registers = MmMapIoSpace(At(0xFD000000), 2 * PAGE_SIZE, MmNonCached);
    Sink = *(volatile UCHAR *)Registers;
    MmUnmapIoSpace(Registers, 2 * PAGE_SIZE);
}
SIN(C4_75)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x75, DISPATCH_LEVEL, P(Mdl), UserMode);
    (void)(MmMapLockedPages)(Mdl, UserMode);
}
SIN(C4_7A)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    PVOID Va = UserMap(Mdl);
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x7A, DISPATCH_LEVEL, P(Va), P(Mdl));
    MmUnmapLockedPages(Va, Mdl);
}
RIGHT(usermap)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    KIRQL Old = Raise(APC_LEVEL);
    PVOID Va = UserMap(Mdl);
    MmUnmapLockedPages(Va, Mdl);
    Va = UserMap(Mdl);
    KeLowerIrql(Old);
    Sink = *(volatile UCHAR *)Va;
    MmUnmapLockedPages(Va, Mdl);
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
}
SIN(C4_7B)
{
    PVOID Va = MmMapIoSpace(At(0xFD000000), PAGE_SIZE, MmNonCached);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x7B, DISPATCH_LEVEL + 1, P(Va), PAGE_SIZE);
    MmUnmapIoSpace(Va, PAGE_SIZE);
}
SIN(C4_7C)
{
    PMDL Mdl = FreshMdl(64);
    Expect(0xC4, 0x7C, P(Mdl), ANY, 0);
    MmUnlockPages(Mdl);
}
SIN(C4_7C_twice)
{
    PMDL Mdl = LockedMdl(64);
    MmUnlockPages(Mdl);
    Expect(0xC4, 0x7C, P(Mdl), ANY, 0);
    MmUnlockPages(Mdl);
}
RIGHT(relock)
{
    PMDL Mdl = LockedMdl(64);
    MmUnlockPages(Mdl);
    MmProbeAndLockPages(Mdl, KernelMode, IoWriteAccess);
    MmUnlockPages(Mdl);
    MmPrepareMdlForReuse(Mdl);
    IoFreeMdl(Mdl);
}
SIN(C4_7D)
{
    PMDL Mdl = FreshMdl(64);
    MmBuildMdlForNonPagedPool(Mdl);
    Expect(0xC4, 0x7D, P(Mdl), ANY, 0);
    MmUnlockPages(Mdl);
}
SIN(C4_7F)
{
    PMDL Mdl = IoAllocateMdl(Paged(64), 64, FALSE, FALSE, NULL);
    Expect(0xC4, 0x7F, PASSIVE_LEVEL, P(Mdl), ANY);
    MmBuildMdlForNonPagedPool(Mdl);
}
RIGHT(built)
{
    PMDL Mdl = FreshMdl(3 * PAGE_SIZE);
    MmBuildMdlForNonPagedPool(Mdl);
    Sink = *(PUCHAR)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    IoFreeMdl(Mdl); /* neither unlocked nor unmapped */
}
SIN(C4_140) /* a user buffer: it has to be locked */
{
    PVOID Base = NULL;
    SIZE_T Size = 0x10000;
    ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    PMDL Mdl = IoAllocateMdl(Base, 64, FALSE, FALSE, NULL);
    if (Argument == 0) {
        MmProbeAndLockPages(Mdl, UserMode, IoReadAccess);
        MmUnlockPages(Mdl);
        IoFreeMdl(Mdl);
        return;
    }
    Expect(0xC4, 0x140, PASSIVE_LEVEL, P(Mdl), P(Base));
    MmBuildMdlForNonPagedPool(Mdl);
}
RIGHT(C4_140)
{
    Argument = 0;
    Sin_C4_140();
}
SIN(C4_81)
{
    PMDL Mdl = LockedMdl(64);
    Expect(0xC4, 0x81, P(Mdl), ANY, 0);
    (void)(MmMapLockedPages)(Mdl, KernelMode);
}
SIN(C4_82)
{
    PMDL Mdl = LockedMdl(64);
    Expect(0xC4, 0x82, P(Mdl), ANY, 0);
    (void)MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, TRUE, NormalPagePriority);
}
RIGHT(mapped)
{
    PMDL Mdl = LockedMdl(64);
    PVOID Va = MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
    Sink = *(volatile UCHAR *)Va;
    MmUnmapLockedPages(Va, Mdl);
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
}
SIN(C4_83)
{
    PPHYSICAL_MEMORY_RANGE Last = MmGetPhysicalMemoryRanges();
    while (Last[1].NumberOfBytes.QuadPart != 0)
        Last++;
    uint64_t Ram = (uint64_t)(Last->BaseAddress.QuadPart + Last->NumberOfBytes.QuadPart / 2);
    Expect(0xC4, 0x83, Ram, PAGE_SIZE, Ram >> PAGE_SHIFT);
    (void)MmMapIoSpace(At(Ram), PAGE_SIZE, MmNonCached);
}
RIGHT(C4_83)
{
    PUCHAR Block = MmAllocateContiguousMemory(PAGE_SIZE, At(~0ull)); /* RAM, but its owner's */
    PVOID Va = MmMapIoSpace(MmGetPhysicalAddress(Block), PAGE_SIZE, MmCached);
    Sink = *(volatile UCHAR *)Va;
    MmUnmapIoSpace(Va, PAGE_SIZE);
    MmFreeContiguousMemory(Block);
}
SIN(C4_85)
{
    PMDL Mdl = LockedMdl(64);
    MmUnlockPages(Mdl);
    ExFreePool(MmGetMdlVirtualAddress(Mdl));
    MmGetMdlPfnArray(Mdl)[0] = Argument; /* a page of RAM that nobody has */
    Mdl->MdlFlags |= MDL_PAGES_LOCKED;
    PPHYSICAL_MEMORY_RANGE Last = MmGetPhysicalMemoryRanges();
    while (Last[1].NumberOfBytes.QuadPart != 0)
        Last++;
    uint64_t Frame = (uint64_t)(Last->BaseAddress.QuadPart + Last->NumberOfBytes.QuadPart / 2) >> PAGE_SHIFT;
    MmGetMdlPfnArray(Mdl)[0] = Frame;
    Expect(0xC4, 0x85, P(Mdl), 1, Frame);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
}
SIN(C4_89)
{
    PMDL Mdl = FreshMdl(64);
    MmGetMdlPfnArray(Mdl)[0] = 0x123456789;
    Mdl->MdlFlags |= MDL_PAGES_LOCKED;
    Expect(0xC4, 0x89, P(Mdl), P(&MmGetMdlPfnArray(Mdl)[0]), 0x123456789);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
}
RIGHT(C4_89)
{
    MM_PHYSICAL_ADDRESS_LIST Range = {At(0xFD000000), PAGE_SIZE};
    PMDL Mdl;
    if (MmAllocateMdlForIoSpace(&Range, 1, &Mdl) != STATUS_SUCCESS)
        return;
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Sink = *(volatile UCHAR *)Va;
    MmUnmapLockedPages(Va, Mdl);
    IoFreeMdl(Mdl);
}
SIN(C4_B3)
{
    PMDL Mdl = FreshMdl(64);
    Expect(0xC4, 0xB3, P(Mdl), ANY, MDL_PAGES_LOCKED | MDL_PARTIAL | MDL_SOURCE_IS_NONPAGED_POOL);
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
}
static PMDL PartialOf(PMDL Source)
{
    PMDL Mdl = IoAllocateMdl(MmGetMdlVirtualAddress(Source), Source->ByteCount, FALSE, FALSE, NULL);
    IoBuildPartialMdl(Source, Mdl, MmGetMdlVirtualAddress(Source), 0);
    return Mdl;
}
SIN(C4_B4)
{
    PMDL Mdl = PartialOf(LockedMdl(64));
    Expect(0xC4, 0xB4, P(Mdl), ANY, MDL_PARTIAL);
    MmUnlockPages(Mdl);
}
SIN(C4_B5)
{
    PMDL Source = LockedMdl(64);
    PVOID Va = MmGetSystemAddressForMdlSafe(Source, NormalPagePriority);
    PMDL Mdl = PartialOf(Source);
    Expect(0xC4, 0xB5, P(Mdl), ANY, MDL_PARTIAL);
    MmUnmapLockedPages(Va, Mdl);
}
RIGHT(partial)
{
    PMDL Source = LockedMdl(3 * PAGE_SIZE);
    PMDL Mdl = PartialOf(Source);
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority); /* a mapping of its own */
    Sink = *(volatile UCHAR *)Va;
    MmUnmapLockedPages(Va, Mdl);
    IoFreeMdl(Mdl);
    MmUnlockPages(Source);
    IoFreeMdl(Source);
}
SIN(C4_B6)
{
    PMDL Mdl = LockedMdl(64);
    Expect(0xC4, 0xB6, P(Mdl), ANY, MDL_MAPPED_TO_SYSTEM_VA);
    MmUnmapLockedPages(NonPaged(64), Mdl);
}
SIN(C4_B9)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    PUCHAR Va = UserMap(Mdl);
    Expect(0xC4, 0xB9, P(Va) + 0x10000000, P(Mdl), ANY);
    MmUnmapLockedPages(Va + 0x10000000, Mdl);
}
SIN(DA_300)
{
    PMDL Mdl = LockedMdl(64);
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Mdl->ByteCount = 0;
    Mdl->ByteOffset = 0;
    Mdl->MappedSystemVa = PAGE_ALIGN(Va);
    Expect(0xDA, 0x300, P(PAGE_ALIGN(Va)), 0, 0);
    MmUnmapLockedPages(PAGE_ALIGN(Va), Mdl);
}
SIN(DA_303)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    PUCHAR Other = NonPaged(PAGE_SIZE);
    Mdl->MappedSystemVa = Other;
    Mdl->MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA;
    Expect(0xDA, 0x303, P(Other), 1, 0);
    MmUnmapLockedPages(Other, Mdl);
}
SIN(DA_304)
{
    PMDL Mdl = LockedMdl(4 * PAGE_SIZE);
    PUCHAR Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    Mdl->MappedSystemVa = Va + PAGE_SIZE;
    Mdl->ByteCount = PAGE_SIZE;
    Expect(0xDA, 0x304, P(Va) + PAGE_SIZE, 1, 0);
    MmUnmapLockedPages(Va + PAGE_SIZE, Mdl);
}
SIN(DA_305)
{
    PVOID Va = MmMapIoSpace(At(0xFD000000), 2 * PAGE_SIZE, MmNonCached);
    Expect(0xDA, 0x305, P(Va), 1, 2);
    MmUnmapIoSpace(Va, PAGE_SIZE);
}

CASES(Mdl){"0x1A/0x1240", "", Sin_1A_1240, Right_1A_1240, 0}, {"0x1A/0x1235", "", Sin_1A_1235, NULL, 0},
    {"0x1A/0x1236", "", Sin_1A_1236, NULL, 0}, {"0x1A/0x1233", "", Sin_1A_1233, NULL, 0},
    {"0x1A/0x15000", "", Sin_1A_15000, NULL, 0}, {"0x4E/0x7", "", Sin_4E_7, Right_4E_7, 0},
    {"0x4E/0x9A", "", Sin_4E_9A, Right_4E_9A, 0}, {"0x3F/0x0", "systemptes=1M", Sin_3F_0, NULL, 0},
    {"0xDA/0x2", "", Sin_DA_2, Right_DA, 0}, {"0xDA/0x3", "", Sin_DA_3, Right_DA, 0}, {"0xDA/0x4", "", Sin_DA_4, Right_DA, 0},
    {"0xDA/0x6", "", Sin_DA_6, Right_DA, 0}, {"0xDA/0x400", "", Sin_DA_400, NULL, 0},
    {"0xC4/0xB0", "", Sin_C4_B0, Right_4E_7, 0}, {"0xC4/0xB2", "", Sin_C4_B2, Right_DA, 0},
    {"0xC4/0x70", "", Sin_C4_70, Right_C4_70, 0}, {"0xC4/0x73", "", Sin_C4_73, NULL, 0}, {"0xC4/0x74", "", Sin_C4_74, NULL, 0},
    {"0xC4/0x76", "", Sin_C4_76, Right_C4_70, 0}, {"0xC4/0x77", "", Sin_C4_77, NULL, 0},
    {"0xC4/0x78", "", Sin_C4_78, Right_C4_70, 0}, {"0xC4/0x79", "", Sin_C4_79, NULL, 0}, {"0xC4/0x7E", "", Sin_C4_7E, NULL, 0},
    {"0xC4/0xB8", "", Sin_C4_B8, Right_DA, 0}, {"0xD8", "systemptes=1M,track_ptes=1", Sin_D8, NULL, 0},
    {"0xC4/0x6F", STANDARD, Sin_C4_6F, Right_iospace, 0}, {"0xC4/0x75", "", Sin_C4_75, Right_usermap, 0},
    {"0xC4/0x7A", "", Sin_C4_7A, Right_usermap, 0}, {"0xC4/0x7B", "", Sin_C4_7B, Right_iospace, 0},
    {"0xC4/0x7C", STANDARD, Sin_C4_7C, Right_relock, 0}, {"0xC4/0x7C", STANDARD, Sin_C4_7C_twice, NULL, 0},
    {"0xC4/0x7D", STANDARD, Sin_C4_7D, Right_built, 0}, {"0xC4/0x7F", STANDARD, Sin_C4_7F, Right_built, 0},
    {"0xC4/0x140", STANDARD, Sin_C4_140, Right_C4_140, 1}, {"0xC4/0x81", STANDARD, Sin_C4_81, Right_mapped, 0},
    {"0xC4/0x82", STANDARD, Sin_C4_82, Right_mapped, 0}, {"0xC4/0x83", STANDARD, Sin_C4_83, Right_C4_83, 0},
    {"0xC4/0x85", STANDARD, Sin_C4_85, Right_mapped, 0}, {"0xC4/0x89", STANDARD, Sin_C4_89, Right_C4_89, 0},
    {"0xC4/0xB3", STANDARD, Sin_C4_B3, Right_mapped, 0}, {"0xC4/0xB4", STANDARD, Sin_C4_B4, Right_partial, 0},
    {"0xC4/0xB5", "", Sin_C4_B5, Right_partial, 0}, {"0xC4/0xB6", STANDARD, Sin_C4_B6, Right_mapped, 0},
    {"0xC4/0xB9", STANDARD, Sin_C4_B9, Right_usermap, 0}, {"0xDA/0x300", "", Sin_DA_300, Right_DA, 0},
    {"0xDA/0x303", "", Sin_DA_303, Right_DA, 0}, {"0xDA/0x304", "", Sin_DA_304, Right_DA, 0},
    {"0xDA/0x305", "", Sin_DA_305, Right_iospace, 0}, END_CASES(Mdl)
