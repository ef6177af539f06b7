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
