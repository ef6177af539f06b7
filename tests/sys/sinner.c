/*
 * sinner.c - a driver binary for the cases of the detection matrix that need one: code and data in an image that goes.
 * SPDX-License-Identifier: MIT
 */
#include <ntddk.h>

#define EXPORT __declspec(dllexport)

EXPORT volatile UCHAR Data[4096]; /* where the case puts a timer, a DPC */
EXPORT volatile LONG Allocates;   /* DriverUnload leaves a thread behind that allocates */

EXPORT PVOID NTAPI Copy(PVOID Target, const VOID *Source, SIZE_T Bytes)
{
    return memcpy(Target, Source, Bytes);
}

EXPORT VOID NTAPI DpcRoutine(PKDPC Dpc, PVOID Context, PVOID A, PVOID B)
{
    (void)Dpc, (void)Context, (void)A, (void)B;
    Data[0]++;
}

EXPORT VOID NTAPI Lock(PMDL Mdl)
{
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    Data[0]++; /* a call, not a jump: the caller is to be seen */
}

/* A heap in the caller's memory, of which a page is committed and Commit gives more. */
typedef struct {
    ULONG Length;
    SIZE_T Sizes[6], InitialCommit, InitialReserve;
    NTSTATUS(NTAPI *CommitRoutine)(PVOID Base, PVOID *CommitAddress, SIZE_T *CommitSize);
    SIZE_T Reserved[2];
} HEAP_PARAMETERS;
NTSYSAPI PVOID NTAPI RtlCreateHeap(ULONG Flags, PVOID Base, SIZE_T Reserve, SIZE_T Commit, PVOID Lock,
                                   HEAP_PARAMETERS *Parameters);
NTSYSAPI PVOID NTAPI RtlAllocateHeap(PVOID Heap, ULONG Flags, SIZE_T Size);
NTSYSAPI PVOID NTAPI RtlDestroyHeap(PVOID Heap);
EXPORT volatile LONG TooMuch, KeepsHeap;
static NTSTATUS NTAPI Commit(PVOID Base, PVOID *CommitAddress, SIZE_T *CommitSize)
{
    (void)Base, (void)CommitAddress;
    Data[0]++;
    *CommitSize += (SIZE_T)TooMuch << 20;
    return STATUS_SUCCESS;
}
EXPORT BOOLEAN NTAPI UseHeap(PVOID Base, SIZE_T Reserve, SIZE_T Size)
{
    HEAP_PARAMETERS Parameters = {sizeof Parameters, {0}, 4096, Reserve, Commit, {0}};
    PVOID Heap = RtlCreateHeap(0, Base, 0, 0, NULL, &Parameters);
    BOOLEAN Got = Heap != NULL && RtlAllocateHeap(Heap, 8, Size) != NULL;
    return Got && Data[0] != 0 && (KeepsHeap || RtlDestroyHeap(Heap) == NULL);
}

static volatile LONG Running;
static VOID NTAPI Thread(PVOID Context)
{
    (void)Context;
    Running = 1;
    while (Allocates)
        ExFreePoolWithTag(ExAllocatePoolWithTag(NonPagedPool, 16, 'nniS'), 'nniS');
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    LARGE_INTEGER Short;
    HANDLE Handle;
    (void)Driver;
    Short.QuadPart = -10000;
    if (Allocates && NT_SUCCESS(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Thread, NULL))) {
        ZwClose(Handle);
        while (!Running)
            KeDelayExecutionThread(KernelMode, FALSE, &Short);
    }
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    (void)Path;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
