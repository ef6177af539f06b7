/*
 * pageable.c - a driver with pageable sections: code in PAGE and PAGELK, data in PAGEDAT. Its exports are called by
 * tests/unit/image_paging_test.c. SPDX-License-Identifier: MIT
 */
#include <ntddk.h>

#define EXPORT         __declspec(dllexport)
#define PLACE(Section) __attribute__((section(Section), noinline))

/* A pointer that the loader relocates, and bytes that only this image has. */
EXPORT ULONG NTAPI Triple(ULONG Value);
EXPORT __attribute__((section("PAGEDAT"))) volatile UCHAR PagedBytes[3 * 4096] = {1, 2, 3, 4};
EXPORT __attribute__((section("PAGEDAT"))) ULONG(NTAPI *volatile PagedPointer)(ULONG) = Triple;
EXPORT volatile ULONG ResidentWord = 7;

EXPORT PLACE("PAGE") ULONG NTAPI Triple(ULONG Value)
{
    return Value * 3;
}

EXPORT PLACE("PAGELK") ULONG NTAPI TripleRaised(ULONG Value)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    Value *= 3;
    KeLowerIrql(Old);
    return Value;
}

EXPORT ULONG NTAPI ReadRaised(const volatile UCHAR *From)
{
    KIRQL Old;
    ULONG Value;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    Value = *From;
    KeLowerIrql(Old);
    return Value;
}

EXPORT PLACE("INIT") ULONG NTAPI OnceOnly(ULONG Value)
{
    return Value + 1;
}

EXPORT NTSTATUS NTAPI LockByImport(ULONG Operation, PVOID *Argument)
{
    switch (Operation) {
    case 0:
        *Argument = MmLockPagableDataSection((PVOID)(ULONG_PTR)TripleRaised);
        break;
    case 1:
        MmUnlockPagableImageSection(*Argument);
        break;
    case 2:
        *Argument = MmPageEntireDriver((PVOID)(ULONG_PTR)ReadRaised);
        break;
    default:
        MmResetDriverPaging((PVOID)(ULONG_PTR)ReadRaised);
        break;
    }
    return STATUS_SUCCESS;
}

/* One call of a routine at an IRQL, wrong or right. */
EXPORT ULONG NTAPI CallAt(ULONG Level, ULONG Routine)
{
    static KDEVICE_QUEUE Queue;
    static KTIMER Timer;
    static PAGED_LOOKASIDE_LIST Lookaside;
    KDEVICE_QUEUE_ENTRY Entry = {{NULL, NULL}, 0, FALSE};
    KIRQL Old;
    UNICODE_STRING String = {0, 0, NULL};
    KeInitializeDeviceQueue(&Queue);
    KeInitializeTimer(&Timer);
    KeRaiseIrql((KIRQL)Level, &Old);
    switch (Routine) {
    case 0:
        ExFreePoolWithTag(ExAllocatePoolWithTag(NonPagedPool, 16, 'tseT'), 'tseT');
        break;
    case 1:
        MmUnlockPagableImageSection(MmLockPagableDataSection((PVOID)(ULONG_PTR)CallAt));
        break;
    case 2:
        MmFreeContiguousMemory(NULL);
        break;
    case 3:
        RtlFreeUnicodeString(&String);
        break;
    case 4:
        ZwClose(NULL);
        break;
    case 5:
        KeInsertDeviceQueue(&Queue, &Entry);
        break;
    case 6:
        (void)RtlEqualUnicodeString(&String, &String, TRUE);
        break;
    case 7:
        KeCancelTimer(&Timer);
        break;
    case 8:
        ExInitializePagedLookasideList(&Lookaside, NULL, NULL, 0, 32, 'tseT', 0);
        ExDeletePagedLookasideList(&Lookaside);
        break;
    default:
        IoDeleteSymbolicLink(&String);
        break;
    }
    KeLowerIrql(Old);
    return 1;
}

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    (void)Driver;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    Driver->DriverUnload = Unload;
    (void)Path;
    return OnceOnly(0) == 1 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
