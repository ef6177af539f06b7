/*
 * MmSecureVirtualMemory.c - what a secured range refuses; copies between processes; probes in their corner cases.
 * SPDX-License-Identifier: MIT
 *
 * Pages: MmSecureVirtualMemory, MmSecureVirtualMemoryEx, MmUnsecureVirtualMemory, ProbeForRead, ProbeForWrite, MmCopyMemory.
 */
#include "mm_kit.h"
#include "ps/psp.h"

static KPROCESS *One, *Two;

static PUCHAR Take(SIZE_T Size, ULONG Type, ULONG Protect)
{
    PVOID Base = NULL;
    assert_int_equal(ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, Type, Protect), STATUS_SUCCESS);
    return Base;
}
static NTSTATUS Free(PVOID Base, SIZE_T Size, ULONG Type)
{
    return ZwFreeVirtualMemory(NtCurrentProcess(), &Base, &Size, Type);
}
static NTSTATUS Protect(PVOID Base, SIZE_T Size, ULONG New)
{
    ULONG Old;
    return ZwProtectVirtualMemory(NtCurrentProcess(), &Base, &Size, New, &Old);
}

/* "secures the memory address range so that it cannot be freed and its page protection cannot be made more restrictive" */
static void Secured_IsNotFreedNorRestricted(void **State)
{
    (void)State;
    PUCHAR Va = Take(8 * PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE);
    HANDLE Secure = MmSecureVirtualMemory(Va + PAGE_SIZE + 100, PAGE_SIZE, PAGE_READWRITE); /* pages 1 and 2 */
    assert_non_null(Secure);
    assert_int_equal(Free(Va, 0, MEM_RELEASE), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(Free(Va + 2 * PAGE_SIZE, PAGE_SIZE, MEM_DECOMMIT), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(Free(Va + 3 * PAGE_SIZE, PAGE_SIZE, MEM_DECOMMIT), STATUS_SUCCESS);
    assert_int_equal(Protect(Va + PAGE_SIZE, PAGE_SIZE, PAGE_READONLY), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(Protect(Va + PAGE_SIZE, PAGE_SIZE, PAGE_NOACCESS), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(Protect(Va + PAGE_SIZE, PAGE_SIZE, PAGE_READWRITE | PAGE_GUARD), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(Protect(Va + PAGE_SIZE, PAGE_SIZE, PAGE_EXECUTE_READWRITE), STATUS_SUCCESS);
    assert_int_equal(Protect(Va, PAGE_SIZE, PAGE_READONLY), STATUS_SUCCESS);
    HANDLE Second = MmSecureVirtualMemory(Va + PAGE_SIZE, 1, PAGE_READONLY);
    assert_non_null(Second);
    MmUnsecureVirtualMemory(Secure);
    assert_int_equal(Protect(Va + PAGE_SIZE, PAGE_SIZE, PAGE_READONLY), STATUS_SUCCESS); /* the second asks no more */
    assert_int_equal(Protect(Va + PAGE_SIZE, PAGE_SIZE, PAGE_NOACCESS), STATUS_INVALID_PAGE_PROTECTION);
    MmUnsecureVirtualMemory(Second);
    assert_int_equal(Free(Va, 0, MEM_RELEASE), STATUS_SUCCESS);
}

static void Secure_RefusesWhatIsNotThere(void **State)
{
    (void)State;
    PUCHAR Va = Take(4 * PAGE_SIZE, MEM_COMMIT, PAGE_READONLY), Reserved = Take(PAGE_SIZE, MEM_RESERVE, PAGE_READWRITE);
    assert_null(MmSecureVirtualMemory(Va, PAGE_SIZE, PAGE_READWRITE));
    assert_null(MmSecureVirtualMemory(Va, 5 * PAGE_SIZE, PAGE_READONLY));
    assert_null(MmSecureVirtualMemory(Va, PAGE_SIZE, PAGE_EXECUTE_READ));
    assert_null(MmSecureVirtualMemory(Va, 0, PAGE_READONLY));
    assert_null(MmSecureVirtualMemory(Va, ~(SIZE_T)0, PAGE_READONLY));
    assert_null(MmSecureVirtualMemory(Reserved, 1, PAGE_READONLY));
    assert_null(MmSecureVirtualMemory(MmSystemRangeStart, 1, PAGE_READONLY));
    assert_null(MmSecureVirtualMemoryEx(Va, 1, PAGE_READONLY, 0x100));
    HANDLE First = MmSecureVirtualMemoryEx(Va, PAGE_SIZE, PAGE_READONLY, MM_SECURE_EXCLUSIVE | MM_SECURE_NO_CHANGE);
    assert_non_null(First);
    assert_null(MmSecureVirtualMemory(Va, 1, PAGE_READONLY));
    assert_int_equal(Protect(Va, PAGE_SIZE, PAGE_READWRITE), STATUS_INVALID_PAGE_PROTECTION); /* NO_CHANGE */
    MmUnsecureVirtualMemory(First);
    assert_int_equal(Free(Va, 0, MEM_RELEASE), STATUS_SUCCESS);
    assert_int_equal(Free(Reserved, 0, MEM_RELEASE), STATUS_SUCCESS);
}

static void Unsecure(void *Cookie)
{
    MmUnsecureVirtualMemory(Cookie);
}
static void Unsecure_Wrong_Is1A(void **State)
{
    (void)State;
    KAPC_STATE Apc;
    PUCHAR Va = Take(PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE);
    HANDLE Secure = MmSecureVirtualMemory(Va, 1, PAGE_READONLY);
    KitExpectStop(Unsecure, Va, MEMORY_MANAGEMENT, 0x15000, Va, 0, 0);
    KeStackAttachProcess(One, &Apc); /* "must be called in the context of the process" */
    KitExpectStop(Unsecure, Secure, MEMORY_MANAGEMENT, 0x15000, Secure, 0, 0);
    KeUnstackDetachProcess(&Apc);
    MmUnsecureVirtualMemory(Secure);
    KitExpectStop(Unsecure, Secure, MEMORY_MANAGEMENT, 0x15000, Secure, 0, 0);
    assert_int_equal(Free(Va, 0, MEM_RELEASE), STATUS_SUCCESS);
}

/* "If the process exits ... the memory is automatically unsecured" */
static void ProcessEnd_Unsecures(void **State)
{
    (void)State;
    KPROCESS *Process;
    KAPC_STATE Apc;
    assert_int_equal(PspCreateNamedProcess("secures", &Process), STATUS_SUCCESS);
    KeStackAttachProcess(Process, &Apc);
    assert_non_null(MmSecureVirtualMemory(Take(PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE), 1, PAGE_READWRITE));
    KeUnstackDetachProcess(&Apc);
    assert_int_equal(PspEndProcess(Process, 0), STATUS_SUCCESS);
    ObDereferenceObject(Process);
}

/* ---- copies ---- */
static void Copy_BetweenProcesses(void **State)
{
    (void)State;
    KAPC_STATE Apc;
    SIZE_T Done;
    CHAR Text[16] = {0};
    KeStackAttachProcess(One, &Apc);
    PUCHAR From = Take(3 * PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE);
    for (ULONG i = 0; i < 3 * PAGE_SIZE; i++)
        From[i] = (UCHAR)(i * 7);
    assert_int_equal(Protect(From + 2 * PAGE_SIZE, PAGE_SIZE, PAGE_NOACCESS), STATUS_SUCCESS);
    KeUnstackDetachProcess(&Apc);
    KeStackAttachProcess(Two, &Apc);
    PUCHAR To = Take(3 * PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE);
    KeUnstackDetachProcess(&Apc);
    /* attached to neither; the offsets differ */
    assert_int_equal(MmCopyVirtualMemory(One, From + 17, Two, To + 4000, 5000, UserMode, &Done), STATUS_SUCCESS);
    assert_int_equal(Done, 5000);
    KeStackAttachProcess(Two, &Apc);
    for (ULONG i = 0; i < 5000; i++)
        assert_int_equal(To[4000 + i], (UCHAR)((i + 17) * 7));
    KeUnstackDetachProcess(&Apc);
    /* as far as it goes */
    assert_int_equal(MmCopyVirtualMemory(One, From + PAGE_SIZE, Two, To, 2 * PAGE_SIZE, UserMode, &Done), STATUS_PARTIAL_COPY);
    assert_int_equal(Done, PAGE_SIZE);
    assert_int_equal(MmCopyVirtualMemory(Two, From, One, To, 1, UserMode, &Done),
                     STATUS_PARTIAL_COPY); /* the other's addresses */
    assert_int_equal(Done, 0);
    assert_int_equal(MmCopyVirtualMemory(One, From, PsInitialSystemProcess, Text, 15, KernelMode, &Done), STATUS_SUCCESS);
    assert_memory_equal(Text, "\0\7\16\25", 4);
    PVOID Pool = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, 'tseT');
    assert_int_equal(MmCopyVirtualMemory(One, From, Two, Pool, 8, UserMode, &Done), STATUS_ACCESS_VIOLATION);
    assert_int_equal(MmCopyVirtualMemory(One, From, Two, Pool, 8, KernelMode, &Done), STATUS_SUCCESS);
    ExFreePoolWithTag(Pool, 'tseT');
    assert_int_equal(MmCopyVirtualMemory(One, From, Two, To, 0, UserMode, &Done), STATUS_SUCCESS);
}

static void ReadWrite_ByHandle(void **State)
{
    (void)State;
    HANDLE Handle;
    KAPC_STATE Apc;
    SIZE_T Done = 0;
    CHAR Text[8] = "abcdefg", Back[8] = {0};
    assert_int_equal(
        ObOpenObjectByPointer(One, OBJ_KERNEL_HANDLE, NULL, PROCESS_ALL_ACCESS, *PsProcessType, KernelMode, &Handle),
        STATUS_SUCCESS);
    KeStackAttachProcess(One, &Apc);
    PUCHAR Va = Take(PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE);
    KeUnstackDetachProcess(&Apc);
    assert_int_equal(NtWriteVirtualMemory(Handle, Va + PAGE_SIZE - 8, Text, 8, &Done), STATUS_SUCCESS);
    assert_int_equal(NtReadVirtualMemory(Handle, Va + PAGE_SIZE - 8, Back, 8, &Done), STATUS_SUCCESS);
    assert_string_equal(Back, Text);
    assert_int_equal(NtWriteVirtualMemory(Handle, Va + PAGE_SIZE - 4, Text, 8, &Done), STATUS_PARTIAL_COPY);
    assert_int_equal(Done, 4);
    assert_int_equal(NtReadVirtualMemory((HANDLE)0x7770, Va, Back, 8, NULL), STATUS_INVALID_HANDLE);
    assert_int_equal(NtFlushInstructionCache(Handle, Va, 8), STATUS_SUCCESS);
    ZwClose(Handle);
}

static void Copy_TakesAGuard(void **State)
{
    (void)State;
    SIZE_T Done;
    UCHAR Byte;
    PUCHAR Va = Take(PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE | PAGE_GUARD);
    PEPROCESS Me = PsGetCurrentProcess();
    assert_int_equal(MmCopyVirtualMemory(Me, Va, Me, &Byte, 1, KernelMode, &Done), STATUS_GUARD_PAGE_VIOLATION);
    assert_int_equal(MmCopyVirtualMemory(Me, Va, Me, &Byte, 1, KernelMode, &Done), STATUS_SUCCESS);
    assert_int_equal(Free(Va, 0, MEM_RELEASE), STATUS_SUCCESS);
}

/* ---- probes ---- */
static NTSTATUS Probe(PVOID Va, SIZE_T Length, ULONG Alignment, BOOLEAN Write)
{
    volatile NTSTATUS Status = STATUS_SUCCESS;
    __try {
        if (Write)
            ProbeForWrite(Va, Length, Alignment);
        else
            ProbeForRead(Va, Length, Alignment);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    return Status;
}
static void Probes_CornerCases(void **State)
{
    (void)State;
    KAPC_STATE Apc;
    PUCHAR Va = Take(2 * PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE), Top = (PUCHAR)MmUserProbeAddress;
    PUCHAR Kernel = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, 'tseT');
    /* "If Length is zero, no checking is done": not even of alignment and of kernel addresses */
    assert_int_equal(Probe(Kernel + 1, 0, 8, FALSE), STATUS_SUCCESS);
    assert_int_equal(Probe(Kernel + 1, 0, 8, TRUE), STATUS_SUCCESS);
    assert_int_equal(Probe(Va + 1, 4, 4, FALSE), STATUS_DATATYPE_MISALIGNMENT);
    assert_int_equal(Probe(Va + 1, 4, 1, FALSE), STATUS_SUCCESS);
    assert_int_equal(Probe(Kernel + 1, 4, 4, FALSE), STATUS_DATATYPE_MISALIGNMENT); /* alignment first */
    assert_int_equal(Probe(Kernel, 4, 4, FALSE), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Probe(Kernel, 4, 4, TRUE), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Probe(Va, ~(SIZE_T)0, 1, FALSE), STATUS_ACCESS_VIOLATION); /* wraps */
    assert_int_equal(Probe(Va, ~(SIZE_T)0 - (ULONG_PTR)Va, 1, FALSE), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Probe(Top - 4, 4, 1, FALSE), STATUS_SUCCESS); /* reads are not tried */
    assert_int_equal(Probe(Top - 4, 5, 1, FALSE), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Probe(Top - 4, 4, 1, TRUE), STATUS_ACCESS_VIOLATION); /* writes are */
    assert_int_equal(Probe(Va + PAGE_SIZE, 2 * PAGE_SIZE, 1, FALSE), STATUS_SUCCESS);
    assert_int_equal(Probe(Va + PAGE_SIZE, 2 * PAGE_SIZE, 1, TRUE), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Probe(Va, 2 * PAGE_SIZE, 1, TRUE), STATUS_SUCCESS);
    assert_int_equal(Protect(Va + PAGE_SIZE, PAGE_SIZE, PAGE_READONLY), STATUS_SUCCESS);
    assert_int_equal(Probe(Va, 2 * PAGE_SIZE, 1, TRUE), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Probe(Va, PAGE_SIZE + 1, 1, TRUE), STATUS_ACCESS_VIOLATION); /* "every page" */
    assert_int_equal(Probe(Va, PAGE_SIZE, 1, TRUE), STATUS_SUCCESS);
    assert_int_equal(Protect(Va, PAGE_SIZE, PAGE_READWRITE | PAGE_GUARD), STATUS_SUCCESS);
    assert_int_equal(Probe(Va, 1, 1, TRUE), STATUS_GUARD_PAGE_VIOLATION);
    assert_int_equal(Probe(Va, 1, 1, TRUE), STATUS_SUCCESS);
    /* another process's user address is in range for a read probe, and not writable */
    KeStackAttachProcess(One, &Apc);
    PUCHAR Theirs = Take(PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE);
    KeUnstackDetachProcess(&Apc);
    assert_int_equal(Probe(Theirs, 8, 8, FALSE), STATUS_SUCCESS);
    assert_int_equal(Probe(Theirs, 8, 8, TRUE), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Free(Va, 0, MEM_RELEASE), STATUS_SUCCESS);
    ExFreePoolWithTag(Kernel, 'tseT');
}

static void CopyMemory_OfAnotherProcess_IsRefused(void **State)
{
    (void)State;
    KAPC_STATE Apc;
    SIZE_T Done = 7;
    UCHAR Byte;
    KeStackAttachProcess(One, &Apc);
    PUCHAR Theirs = Take(PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE);
    Theirs[0] = 1;
    MM_COPY_ADDRESS From = {.VirtualAddress = Theirs};
    assert_int_equal(MmCopyMemory(&Byte, From, 1, MM_COPY_MEMORY_VIRTUAL, &Done), STATUS_SUCCESS);
    KeUnstackDetachProcess(&Apc);
    assert_int_equal(MmCopyMemory(&Byte, From, 1, MM_COPY_MEMORY_VIRTUAL, &Done), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Done, 0);
    KIT_MDL Mdl;
    MmInitializeMdl(&Mdl.Mdl, Theirs, 1);
    assert_int_equal(KitLock(&Mdl.Mdl, UserMode, IoReadAccess), STATUS_ACCESS_VIOLATION);
    assert_int_equal(KitLock(&Mdl.Mdl, KernelMode, IoReadAccess), STATUS_ACCESS_VIOLATION);
    assert_int_equal(MmGetPhysicalAddress(Theirs).QuadPart, 0);
}

static int MakeProcesses(void **State)
{
    (void)State;
    return NT_SUCCESS(PspCreateNamedProcess("one", &One)) && NT_SUCCESS(PspCreateNamedProcess("two", &Two)) ? 0 : -1;
}
static int EndProcesses(void **State)
{
    (void)State;
    NTSTATUS A = PspEndProcess(One, 0), B = PspEndProcess(Two, 0);
    ObDereferenceObject(One), ObDereferenceObject(Two);
    return A != 0 || B != 0 || MiValidateAll() != NULL;
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
#define WITH(Test) cmocka_unit_test_setup_teardown(Test, MakeProcesses, EndProcesses)
        WITH(Secured_IsNotFreedNorRestricted),
        WITH(Secure_RefusesWhatIsNotThere),
        WITH(Unsecure_Wrong_Is1A),
        WITH(ProcessEnd_Unsecures),
        WITH(Copy_BetweenProcesses),
        WITH(ReadWrite_ByHandle),
        WITH(Copy_TakesAGuard),
        WITH(Probes_CornerCases),
        WITH(CopyMemory_OfAnotherProcess_IsRefused),
    };
    return cmocka_run_group_tests(Tests, KitStart, KitStop);
}
