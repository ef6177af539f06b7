/*
 * vmservice.c - the system services for virtual memory: handles, arguments, and who calls. SPDX-License-Identifier: MIT
 *
 * Implements Zw/NtAllocateVirtualMemory(Ex), FreeVirtualMemory, ProtectVirtualMemory, QueryVirtualMemory,
 * SetInformationVirtualMemory, NtGetWriteWatch, NtResetWriteWatch, LockVirtualMemory, UnlockVirtualMemory, ReadVirtualMemory,
 * WriteVirtualMemory, NtFlushInstructionCache, MmCopyVirtualMemory, MmAllocateVirtualMemory. The work is mm's (mm/vm.h).
 *
 * A service takes the caller's mode: KernelMode for Zw, ExGetPreviousMode's for Nt, UserMode for either when a thread with user
 * rights calls it (usermode.c). Arguments of UserMode are captured once, checked, and written back at the end, by copies that
 * answer instead of faulting; so a caller that changes or unmaps them meanwhile changes its own result only.
 *
 * The process is kept from ending while a service works on it (ExitRundown).
 * IRQL = PASSIVE_LEVEL, else 0xC4/0xE5. Watch: tests/ddi/ZwAllocateVirtualMemory.c.
 */
#include "ps/psp.h"
#include "mm/vm.h"

static VOID PspCheckService(VOID)
{
    if (KiCurrentThread()->Irql != PASSIVE_LEVEL)
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "A system service was called above PASSIVE_LEVEL.", NULL, 0xE5,
               KiCurrentThread()->Irql, 0, 0);
}

NTSTATUS PspOpenSpace(HANDLE Handle, ACCESS_MASK Access, KPROCESSOR_MODE Mode, KPROCESS **Process)
{
    PspCheckService();
    NTSTATUS Status = ObReferenceObjectByHandle(Handle, Access, &PspProcessType, Mode, (PVOID *)Process, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    if ((*Process)->Space == NULL || !ExAcquireRundownProtection(&(*Process)->ExitRundown)) {
        ObfDereferenceObject(*Process);
        return STATUS_PROCESS_IS_TERMINATING;
    }
    return STATUS_SUCCESS;
}

VOID PspCloseSpace(KPROCESS *Process)
{
    ExReleaseRundownProtection(&Process->ExitRundown);
    ObfDereferenceObject(Process);
}

/* Base and size go in, and come back rounded. */
static NTSTATUS PspCaptureRange(KPROCESSOR_MODE Mode, PVOID *BaseAddress, PSIZE_T RegionSize, PVOID *Base, SIZE_T *Size)
{
    NTSTATUS Status = MmCaptureFrom(Mode, Base, BaseAddress, sizeof *Base);
    return NT_SUCCESS(Status) ? MmCaptureFrom(Mode, Size, RegionSize, sizeof *Size) : Status;
}
static NTSTATUS PspReleaseRange(KPROCESSOR_MODE Mode, PVOID *BaseAddress, PSIZE_T RegionSize, PVOID Base, SIZE_T Size)
{
    NTSTATUS Status = MmReleaseTo(Mode, BaseAddress, &Base, sizeof Base);
    return NT_SUCCESS(Status) ? MmReleaseTo(Mode, RegionSize, &Size, sizeof Size) : Status;
}

/* ---- allocate ---- */
static NTSTATUS PspAllocate(KPROCESSOR_MODE Mode, HANDLE Handle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG Type,
                            ULONG Protect, const MM_ADDRESS_LIMITS *Limits)
{
    KPROCESS *Process;
    PVOID Base;
    SIZE_T Size;
    NTSTATUS Status = PspCaptureRange(Mode, BaseAddress, RegionSize, &Base, &Size);
    if (!NT_SUCCESS(Status))
        return Status;
    if (Base && (Limits->Lowest || Limits->Highest || Limits->Alignment))
        return STATUS_INVALID_PARAMETER;
    Status = PspOpenSpace(Handle, PROCESS_VM_OPERATION, Mode, &Process);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = MmAllocateVirtual(Process->Space, &Base, &Size, Type, Protect, Limits);
    PspCloseSpace(Process);
    /* A result that cannot be written back is the caller's loss: what it asked for is done. */
    if (NT_SUCCESS(Status))
        (VOID) PspReleaseRange(Mode, BaseAddress, RegionSize, Base, Size);
    return Status;
}

static NTSTATUS PspAllocateBelow(KPROCESSOR_MODE Mode, HANDLE Handle, PVOID *BaseAddress, ULONG_PTR ZeroBits,
                                 PSIZE_T RegionSize, ULONG Type, ULONG Protect)
{
    MM_ADDRESS_LIMITS Limits = {0};
    PVOID Base;
    PspCheckService();
    if (ZeroBits > 21 && ZeroBits < 32)
        return STATUS_INVALID_PARAMETER_3;
    if (Type & (MEM_RESERVE_PLACEHOLDER | MEM_REPLACE_PLACEHOLDER))
        return STATUS_INVALID_PARAMETER_5; /* those are ZwAllocateVirtualMemoryEx's */
    if (ZeroBits) {
        Limits.Highest = ZeroBits < 32 ? 0xFFFFFFFFull >> ZeroBits : ~0ull >> __builtin_clzll(ZeroBits);
        NTSTATUS Status = MmCaptureFrom(Mode, &Base, BaseAddress, sizeof Base);
        if (!NT_SUCCESS(Status))
            return Status;
        if (Base)
            Limits.Highest = 0; /* bits of an address that the system chooses */
    }
    return PspAllocate(Mode, Handle, BaseAddress, RegionSize, Type, Protect, &Limits);
}

NTSTATUS PspReadParameters(KPROCESSOR_MODE Mode, PMEM_EXTENDED_PARAMETER Parameters, ULONG Count, MM_ADDRESS_LIMITS *Limits,
                           USHORT *Machine)
{
    ULONG Seen = 0;
    if (Count == 0)
        return STATUS_SUCCESS;
    if (Parameters == NULL || Count >= MemExtendedParameterMax)
        return STATUS_INVALID_PARAMETER;
    for (ULONG i = 0; i < Count; i++) {
        MEM_EXTENDED_PARAMETER One;
        MEM_ADDRESS_REQUIREMENTS Wanted;
        NTSTATUS Status = MmCaptureFrom(Mode, &One, &Parameters[i], sizeof One);
        if (!NT_SUCCESS(Status))
            return Status;
        if (One.Reserved || One.Type == 0 || One.Type >= MemExtendedParameterMax || (Seen & (1u << One.Type)))
            return STATUS_INVALID_PARAMETER;
        Seen |= 1u << One.Type;
        switch ((ULONG)One.Type) {
        case MemExtendedParameterAddressRequirements:
            Status = MmCaptureFrom(Mode, &Wanted, One.Pointer, sizeof Wanted);
            if (!NT_SUCCESS(Status))
                return Status;
            Limits->Lowest = (ULONG_PTR)Wanted.LowestStartingAddress;
            Limits->Highest = (ULONG_PTR)Wanted.HighestEndingAddress;
            Limits->Alignment = Wanted.Alignment;
            if ((Limits->Lowest & 0xFFFF) || (Limits->Highest && ((Limits->Highest + 1) & (PAGE_SIZE - 1))) ||
                (Limits->Alignment && (Limits->Alignment < 0x10000 || (Limits->Alignment & (Limits->Alignment - 1)))) ||
                Limits->Lowest > (ULONG_PTR)MmHighestUserAddress || Limits->Highest > (ULONG_PTR)MmHighestUserAddress ||
                (Limits->Highest && Limits->Highest < Limits->Lowest))
                return STATUS_INVALID_PARAMETER;
            break;
        case MemExtendedParameterNumaNode:
            if (One.ULong > KeQueryHighestNodeNumber())
                return STATUS_INVALID_PARAMETER;
            Limits->NodePlusOne = One.ULong + 1;
            break;
        case MemExtendedParameterAttributeFlags:
            if (One.ULong64 != 0)
                return STATUS_NOT_SUPPORTED;
            break;
        case MemExtendedParameterImageMachine:
            if (Machine == NULL)
                return STATUS_NOT_SUPPORTED;
            *Machine = (USHORT)One.ULong;
            break;
        default:
            return STATUS_NOT_SUPPORTED; /* partitions, physical pages */
        }
    }
    return STATUS_SUCCESS;
}

static NTSTATUS PspAllocateEx(KPROCESSOR_MODE Mode, HANDLE Handle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG Type,
                              ULONG Protect, PMEM_EXTENDED_PARAMETER Parameters, ULONG Count)
{
    MM_ADDRESS_LIMITS Limits = {0};
    PspCheckService();
    NTSTATUS Status = PspReadParameters(Mode, Parameters, Count, &Limits, NULL);
    return NT_SUCCESS(Status) ? PspAllocate(Mode, Handle, BaseAddress, RegionSize, Type, Protect, &Limits) : Status;
}

NTSTATUS NTAPI ZwAllocateVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, ULONG_PTR ZeroBits, PSIZE_T RegionSize,
                                       ULONG AllocationType, ULONG Protect)
{
    KI_CHECK_SERVICE(NULL, NULL, BaseAddress, RegionSize);
    PSP_SERVE(FALSE);
    return PspAllocateBelow(Service_.Mode, ProcessHandle, BaseAddress, ZeroBits, RegionSize, AllocationType, Protect);
}

NTSTATUS NTAPI NtAllocateVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, ULONG_PTR ZeroBits, PSIZE_T RegionSize,
                                       ULONG AllocationType, ULONG Protect)
{
    PSP_SERVE(TRUE);
    return PspAllocateBelow(Service_.Mode, ProcessHandle, BaseAddress, ZeroBits, RegionSize, AllocationType, Protect);
}

NTSTATUS NTAPI MmAllocateVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, ULONG_PTR ZeroBits, PSIZE_T RegionSize,
                                       ULONG AllocationType, ULONG Protect)
{
    return ZwAllocateVirtualMemory(ProcessHandle, BaseAddress, ZeroBits, RegionSize, AllocationType, Protect);
}

NTSTATUS NTAPI ZwAllocateVirtualMemoryEx(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG AllocationType,
                                         ULONG PageProtection, PMEM_EXTENDED_PARAMETER ExtendedParameters,
                                         ULONG ExtendedParameterCount)
{
    KI_CHECK_SERVICE(NULL, NULL, BaseAddress, RegionSize, ExtendedParameters);
    PSP_SERVE(FALSE);
    return PspAllocateEx(Service_.Mode, ProcessHandle, BaseAddress, RegionSize, AllocationType, PageProtection,
                         ExtendedParameters, ExtendedParameterCount);
}

NTSTATUS NTAPI NtAllocateVirtualMemoryEx(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG AllocationType,
                                         ULONG PageProtection, PMEM_EXTENDED_PARAMETER ExtendedParameters,
                                         ULONG ExtendedParameterCount)
{
    PSP_SERVE(TRUE);
    return PspAllocateEx(Service_.Mode, ProcessHandle, BaseAddress, RegionSize, AllocationType, PageProtection,
                         ExtendedParameters, ExtendedParameterCount);
}

/* ---- services that take a range and give it back rounded ---- */
typedef NTSTATUS PSP_RANGE_ROUTINE(PMM_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG Argument);

static NTSTATUS PspOnRange(KPROCESSOR_MODE Mode, HANDLE Handle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG Argument,
                           PSP_RANGE_ROUTINE *Routine)
{
    KPROCESS *Process;
    PVOID Base;
    SIZE_T Size;
    PspCheckService();
    NTSTATUS Status = PspCaptureRange(Mode, BaseAddress, RegionSize, &Base, &Size);
    if (NT_SUCCESS(Status))
        Status = PspOpenSpace(Handle, PROCESS_VM_OPERATION, Mode, &Process);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = Routine(Process->Space, &Base, &Size, Argument);
    PspCloseSpace(Process);
    if (NT_SUCCESS(Status))
        (VOID) PspReleaseRange(Mode, BaseAddress, RegionSize, Base, Size);
    return Status;
}

NTSTATUS NTAPI ZwFreeVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG FreeType)
{
    KI_CHECK_SERVICE(NULL, NULL, BaseAddress, RegionSize);
    PSP_SERVE(FALSE);
    return PspOnRange(Service_.Mode, ProcessHandle, BaseAddress, RegionSize, FreeType, MmFreeVirtual);
}

NTSTATUS NTAPI NtFreeVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG FreeType)
{
    PSP_SERVE(TRUE);
    return PspOnRange(Service_.Mode, ProcessHandle, BaseAddress, RegionSize, FreeType, MmFreeVirtual);
}

NTSTATUS NTAPI ZwLockVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG MapType)
{
    KI_CHECK_SERVICE(NULL, NULL, BaseAddress, RegionSize);
    PSP_SERVE(FALSE);
    return PspOnRange(Service_.Mode, ProcessHandle, BaseAddress, RegionSize, MapType, MmLockVirtual);
}

NTSTATUS NTAPI NtLockVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG MapType)
{
    PSP_SERVE(TRUE);
    return PspOnRange(Service_.Mode, ProcessHandle, BaseAddress, RegionSize, MapType, MmLockVirtual);
}

NTSTATUS NTAPI ZwUnlockVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG MapType)
{
    KI_CHECK_SERVICE(NULL, NULL, BaseAddress, RegionSize);
    PSP_SERVE(FALSE);
    return PspOnRange(Service_.Mode, ProcessHandle, BaseAddress, RegionSize, MapType, MmUnlockVirtual);
}

NTSTATUS NTAPI NtUnlockVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG MapType)
{
    PSP_SERVE(TRUE);
    return PspOnRange(Service_.Mode, ProcessHandle, BaseAddress, RegionSize, MapType, MmUnlockVirtual);
}

/* ---- protect ---- */
static NTSTATUS PspProtect(KPROCESSOR_MODE Mode, HANDLE Handle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG Protect,
                           PULONG OldProtect)
{
    KPROCESS *Process;
    PVOID Base;
    SIZE_T Size;
    ULONG Old = 0;
    PspCheckService();
    NTSTATUS Status = PspCaptureRange(Mode, BaseAddress, RegionSize, &Base, &Size);
    if (NT_SUCCESS(Status))
        Status = MmReleaseTo(Mode, OldProtect, &Old, sizeof Old); /* it can be written, or nothing is done */
    if (NT_SUCCESS(Status))
        Status = PspOpenSpace(Handle, PROCESS_VM_OPERATION, Mode, &Process);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = MmProtectVirtual(Process->Space, &Base, &Size, Protect, &Old);
    PspCloseSpace(Process);
    if (NT_SUCCESS(Status)) {
        (VOID) PspReleaseRange(Mode, BaseAddress, RegionSize, Base, Size);
        (VOID) MmReleaseTo(Mode, OldProtect, &Old, sizeof Old);
    }
    return Status;
}

NTSTATUS NTAPI ZwProtectVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG NewProtect,
                                      PULONG OldProtect)
{
    KI_CHECK_SERVICE(NULL, NULL, BaseAddress, RegionSize);
    PSP_SERVE(FALSE);
    return PspProtect(Service_.Mode, ProcessHandle, BaseAddress, RegionSize, NewProtect, OldProtect);
}

NTSTATUS NTAPI NtProtectVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, ULONG NewProtect,
                                      PULONG OldProtect)
{
    PSP_SERVE(TRUE);
    return PspProtect(Service_.Mode, ProcessHandle, BaseAddress, RegionSize, NewProtect, OldProtect);
}

/* ---- query ---- */
static NTSTATUS PspQueryPages(KPROCESSOR_MODE Mode, PMM_SPACE Space, PVOID Information, SIZE_T Length)
{
    PMEMORY_WORKING_SET_EX_INFORMATION Entries = Information;
    for (SIZE_T i = 0; i < Length / sizeof *Entries; i++) {
        MEMORY_WORKING_SET_EX_INFORMATION One;
        NTSTATUS Status = MmCaptureFrom(Mode, &One, &Entries[i], sizeof One);
        if (!NT_SUCCESS(Status))
            return Status;
        MmQueryWorkingSetEx(Space, &One);
        Status = MmReleaseTo(Mode, &Entries[i], &One, sizeof One);
        if (!NT_SUCCESS(Status))
            return Status;
    }
    return STATUS_SUCCESS;
}

static NTSTATUS PspQuery(KPROCESSOR_MODE Mode, HANDLE Handle, PVOID BaseAddress, MEMORY_INFORMATION_CLASS Class,
                         PVOID Information, SIZE_T Length, PSIZE_T ReturnLength)
{
    KPROCESS *Process;
    union {
        MEMORY_BASIC_INFORMATION Basic;
        MEMORY_REGION_INFORMATION Region;
    } Answer;
    SIZE_T Need;
    PspCheckService();
    switch (Class) {
    case MemoryBasicInformation:
        Need = sizeof Answer.Basic;
        break;
    case MemoryRegionInformation:
        Need = sizeof Answer.Region;
        break;
    case MemoryWorkingSetExInformation:
        Need = sizeof(MEMORY_WORKING_SET_EX_INFORMATION);
        break;
    default:
        return STATUS_INVALID_INFO_CLASS;
    }
    if (Length < Need)
        return STATUS_INFO_LENGTH_MISMATCH;
    NTSTATUS Status = PspOpenSpace(Handle, PROCESS_QUERY_INFORMATION, Mode, &Process);
    if (!NT_SUCCESS(Status))
        return Status;
    if (Class == MemoryWorkingSetExInformation) {
        Need = Length / Need * Need;
        Status = PspQueryPages(Mode, Process->Space, Information, Length);
    } else {
        Status = Class == MemoryBasicInformation ? MmQueryVirtual(Process->Space, BaseAddress, &Answer.Basic)
                                                 : MmQueryRegionOf(Process->Space, BaseAddress, &Answer.Region);
        if (NT_SUCCESS(Status))
            Status = MmReleaseTo(Mode, Information, &Answer, Need);
    }
    PspCloseSpace(Process);
    if (NT_SUCCESS(Status) && ReturnLength)
        Status = MmReleaseTo(Mode, ReturnLength, &Need, sizeof Need);
    return Status;
}

NTSTATUS NTAPI ZwQueryVirtualMemory(HANDLE ProcessHandle, PVOID BaseAddress, MEMORY_INFORMATION_CLASS MemoryInformationClass,
                                    PVOID MemoryInformation, SIZE_T MemoryInformationLength, PSIZE_T ReturnLength)
{
    KI_CHECK_SERVICE(NULL, NULL, MemoryInformation, ReturnLength);
    PSP_SERVE(FALSE);
    return PspQuery(Service_.Mode, ProcessHandle, BaseAddress, MemoryInformationClass, MemoryInformation,
                    MemoryInformationLength, ReturnLength);
}

NTSTATUS NTAPI NtQueryVirtualMemory(HANDLE ProcessHandle, PVOID BaseAddress, MEMORY_INFORMATION_CLASS MemoryInformationClass,
                                    PVOID MemoryInformation, SIZE_T MemoryInformationLength, PSIZE_T ReturnLength)
{
    PSP_SERVE(TRUE);
    return PspQuery(Service_.Mode, ProcessHandle, BaseAddress, MemoryInformationClass, MemoryInformation,
                    MemoryInformationLength, ReturnLength);
}

/* ---- prefetch ---- */
static NTSTATUS PspPrefetch(KPROCESSOR_MODE Mode, HANDLE Handle, VIRTUAL_MEMORY_INFORMATION_CLASS Class, ULONG_PTR Count,
                            PMEMORY_RANGE_ENTRY Ranges, PVOID Information, ULONG Length)
{
    KPROCESS *Process;
    ULONG Flags;
    PspCheckService();
    if (Class != VmPrefetchInformation)
        return STATUS_INVALID_PARAMETER_2;
    if (Count == 0)
        return STATUS_INVALID_PARAMETER_3;
    if (Length != sizeof Flags)
        return STATUS_INVALID_PARAMETER_6;
    NTSTATUS Status = MmCaptureFrom(Mode, &Flags, Information, sizeof Flags);
    if (NT_SUCCESS(Status) && Flags != 0)
        Status = STATUS_INVALID_PARAMETER_5;
    if (NT_SUCCESS(Status))
        Status = PspOpenSpace(Handle, PROCESS_VM_OPERATION, Mode, &Process);
    if (!NT_SUCCESS(Status))
        return Status;
    for (ULONG_PTR i = 0; i < Count && NT_SUCCESS(Status); i++) {
        MEMORY_RANGE_ENTRY One;
        Status = MmCaptureFrom(Mode, &One, &Ranges[i], sizeof One);
        if (NT_SUCCESS(Status) && One.NumberOfBytes == 0)
            Status = STATUS_INVALID_PARAMETER_4;
        if (NT_SUCCESS(Status))
            MmPrefetchVirtual(Process->Space, One.VirtualAddress, One.NumberOfBytes);
    }
    PspCloseSpace(Process);
    return Status;
}

NTSTATUS NTAPI ZwSetInformationVirtualMemory(HANDLE ProcessHandle, VIRTUAL_MEMORY_INFORMATION_CLASS VmInformationClass,
                                             ULONG_PTR NumberOfEntries, PMEMORY_RANGE_ENTRY VirtualAddresses,
                                             PVOID VmInformation, ULONG VmInformationLength)
{
    PSP_SERVE(FALSE);
    return PspPrefetch(Service_.Mode, ProcessHandle, VmInformationClass, NumberOfEntries, VirtualAddresses, VmInformation,
                       VmInformationLength);
}

NTSTATUS NTAPI NtSetInformationVirtualMemory(HANDLE ProcessHandle, VIRTUAL_MEMORY_INFORMATION_CLASS VmInformationClass,
                                             ULONG_PTR NumberOfEntries, PMEMORY_RANGE_ENTRY VirtualAddresses,
                                             PVOID VmInformation, ULONG VmInformationLength)
{
    PSP_SERVE(TRUE);
    return PspPrefetch(Service_.Mode, ProcessHandle, VmInformationClass, NumberOfEntries, VirtualAddresses, VmInformation,
                       VmInformationLength);
}

/* ---- copies ---- */
static BOOLEAN PspIsUserRange(PVOID Address, SIZE_T Bytes)
{
    ULONG_PTR Start = (ULONG_PTR)Address;
    return Start + Bytes >= Start && !HalIsSystemAddress(Start) && !(Bytes && HalIsSystemAddress(Start + Bytes - 1));
}

NTSTATUS NTAPI MmCopyVirtualMemory(PEPROCESS FromProcess, PVOID FromAddress, PEPROCESS ToProcess, PVOID ToAddress,
                                   SIZE_T BufferSize, KPROCESSOR_MODE PreviousMode, PSIZE_T NumberOfBytesCopied)
{
    SIZE_T Done = 0;
    NTSTATUS Status = STATUS_PROCESS_IS_TERMINATING;
    *NumberOfBytesCopied = 0;
    if (BufferSize == 0)
        return STATUS_SUCCESS;
    if (PreviousMode != KernelMode && (!PspIsUserRange(FromAddress, BufferSize) || !PspIsUserRange(ToAddress, BufferSize)))
        return STATUS_ACCESS_VIOLATION;
    if (ExAcquireRundownProtection(&FromProcess->ExitRundown)) {
        if (ExAcquireRundownProtection(&ToProcess->ExitRundown)) {
            Status = MmCopyBetween(FromProcess->Space, FromAddress, ToProcess->Space, ToAddress, BufferSize, &Done);
            ExReleaseRundownProtection(&ToProcess->ExitRundown);
        }
        ExReleaseRundownProtection(&FromProcess->ExitRundown);
    }
    *NumberOfBytesCopied = Done;
    return Status;
}

static NTSTATUS PspReadWrite(KPROCESSOR_MODE Mode, HANDLE Handle, BOOLEAN Write, PVOID Address, PVOID Buffer, SIZE_T Size,
                             PSIZE_T Copied)
{
    KPROCESS *Process, *Own = PsGetCurrentProcess();
    SIZE_T Done = 0;
    PspCheckService();
    if (Mode != KernelMode && (!PspIsUserRange(Address, Size) || !PspIsUserRange(Buffer, Size)))
        return STATUS_ACCESS_VIOLATION;
    NTSTATUS Status = ObReferenceObjectByHandle(Handle, Write ? PROCESS_VM_WRITE : PROCESS_VM_READ, &PspProcessType, Mode,
                                                (PVOID *)&Process, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = Write ? MmCopyVirtualMemory(Own, Buffer, Process, Address, Size, Mode, &Done)
                   : MmCopyVirtualMemory(Process, Address, Own, Buffer, Size, Mode, &Done);
    ObfDereferenceObject(Process);
    if (Copied)
        (VOID) MmReleaseTo(Mode, Copied, &Done, sizeof Done);
    return Status;
}

NTSTATUS NTAPI NtReadVirtualMemory(HANDLE ProcessHandle, PVOID BaseAddress, PVOID Buffer, SIZE_T BufferSize,
                                   PSIZE_T NumberOfBytesRead)
{
    PSP_SERVE(TRUE);
    return PspReadWrite(Service_.Mode, ProcessHandle, FALSE, BaseAddress, Buffer, BufferSize, NumberOfBytesRead);
}

NTSTATUS NTAPI ZwReadVirtualMemory(HANDLE ProcessHandle, PVOID BaseAddress, PVOID Buffer, SIZE_T BufferSize,
                                   PSIZE_T NumberOfBytesRead)
{
    PSP_SERVE(FALSE);
    return PspReadWrite(Service_.Mode, ProcessHandle, FALSE, BaseAddress, Buffer, BufferSize, NumberOfBytesRead);
}

NTSTATUS NTAPI NtWriteVirtualMemory(HANDLE ProcessHandle, PVOID BaseAddress, PVOID Buffer, SIZE_T BufferSize,
                                    PSIZE_T NumberOfBytesWritten)
{
    PSP_SERVE(TRUE);
    return PspReadWrite(Service_.Mode, ProcessHandle, TRUE, BaseAddress, Buffer, BufferSize, NumberOfBytesWritten);
}

NTSTATUS NTAPI ZwWriteVirtualMemory(HANDLE ProcessHandle, PVOID BaseAddress, PVOID Buffer, SIZE_T BufferSize,
                                    PSIZE_T NumberOfBytesWritten)
{
    PSP_SERVE(FALSE);
    return PspReadWrite(Service_.Mode, ProcessHandle, TRUE, BaseAddress, Buffer, BufferSize, NumberOfBytesWritten);
}

/* ---- write watch ---- */
NTSTATUS NTAPI NtGetWriteWatch(HANDLE ProcessHandle, ULONG Flags, PVOID BaseAddress, SIZE_T RegionSize, PVOID *UserAddressArray,
                               PULONG_PTR EntriesInUserAddressArray, PULONG Granularity)
{
    KPROCESS *Process;
    PVOID Found[64];
    ULONG_PTR Room, Done = 0, From = 0;
    ULONG Page = PAGE_SIZE;
    PSP_SERVE(TRUE);
    PspCheckService();
    if (Flags & ~WRITE_WATCH_FLAG_RESET)
        return STATUS_INVALID_PARAMETER_2;
    NTSTATUS Status = MmCaptureFrom(Service_.Mode, &Room, EntriesInUserAddressArray, sizeof Room);
    if (NT_SUCCESS(Status) && Room == 0)
        Status = STATUS_INVALID_PARAMETER_6;
    if (NT_SUCCESS(Status))
        Status = MmReleaseTo(Service_.Mode, Granularity, &Page, sizeof Page);
    if (NT_SUCCESS(Status))
        Status = PspOpenSpace(ProcessHandle, PROCESS_VM_OPERATION, Service_.Mode, &Process);
    if (!NT_SUCCESS(Status))
        return Status;
    for (ULONG Count = 1; NT_SUCCESS(Status) && Done < Room && Count != 0; Done += Count) {
        Count = Room - Done < ARRAYSIZE(Found) ? (ULONG)(Room - Done) : ARRAYSIZE(Found);
        Status =
            MmFindWritten(Process->Space, BaseAddress, RegionSize, (Flags & WRITE_WATCH_FLAG_RESET) != 0, &From, Found, &Count);
        if (NT_SUCCESS(Status))
            Status = MmReleaseTo(Service_.Mode, UserAddressArray + Done, Found, Count * sizeof *Found);
    }
    PspCloseSpace(Process);
    return NT_SUCCESS(Status) ? MmReleaseTo(Service_.Mode, EntriesInUserAddressArray, &Done, sizeof Done) : Status;
}

NTSTATUS NTAPI NtResetWriteWatch(HANDLE ProcessHandle, PVOID BaseAddress, SIZE_T RegionSize)
{
    KPROCESS *Process;
    ULONG_PTR From = 0;
    ULONG Count = 0;
    PSP_SERVE(TRUE);
    PspCheckService();
    NTSTATUS Status = PspOpenSpace(ProcessHandle, PROCESS_VM_OPERATION, Service_.Mode, &Process);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = MmFindWritten(Process->Space, BaseAddress, RegionSize, TRUE, &From, NULL, &Count);
    PspCloseSpace(Process);
    return Status;
}

NTSTATUS NTAPI NtFlushInstructionCache(HANDLE ProcessHandle, PVOID BaseAddress, SIZE_T Length)
{
    KPROCESS *Process;
    UNREFERENCED_PARAMETER(BaseAddress);
    UNREFERENCED_PARAMETER(Length);
    PSP_SERVE(TRUE);
    NTSTATUS Status = PspOpenSpace(ProcessHandle, PROCESS_VM_WRITE, Service_.Mode, &Process);
    if (NT_SUCCESS(Status))
        PspCloseSpace(Process);
    return Status;
}

BOOLEAN NTAPI MmIsUserAddress(PVOID VirtualAddress)
{
    return (ULONG_PTR)VirtualAddress <= (ULONG_PTR)MmHighestUserAddress;
}
