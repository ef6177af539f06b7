/*
 * process.c - the host-side API for processes. SPDX-License-Identifier: MIT
 *
 * Implements ntmm_process_create, ntmm_process_run, ntmm_process_end, ntmm_process_id, ntmm_user_allocate, ntmm_user_free over
 * ps/psp.h and io/iop.h.
 *
 *     ntmm_process -> KPROCESS (one reference)
 */
#include <stdlib.h>
#include <ntmm.h>
#include "host/host.h"
#include "io/iop.h"

struct ntmm_process {
    KPROCESS *Object;
};

int32_t ntmm_process_create(const char *name, ntmm_process **process)
{
    *process = NULL;
    KiCurrentThread();
    ntmm_process *New = malloc(sizeof *New);
    if (New == NULL)
        return STATUS_NO_MEMORY;
    NTSTATUS Status = PspCreateNamedProcess(name, &New->Object);
    if (NT_SUCCESS(Status))
        *process = New;
    else
        free(New);
    return Status;
}

int32_t ntmm_process_run(ntmm_process *process, int32_t (*function)(void *), void *argument, int32_t *result)
{
    LONG Result = 0;
    NTSTATUS Status = PspRunUser(process->Object, (LONG(*)(PVOID))function, argument, &Result);
    if (result)
        *result = Result;
    return Status;
}

int32_t ntmm_process_end(ntmm_process *process, int32_t exit_status)
{
    NTSTATUS Status = PspEndProcess(process->Object, exit_status);
    if (!NT_SUCCESS(Status))
        return Status;
    ObDereferenceObject(process->Object);
    free(process);
    return Status;
}

uint64_t ntmm_process_id(const ntmm_process *process)
{
    PSP_SERVE(TRUE);
    return (uint64_t)(ULONG_PTR)PsGetProcessId(process->Object);
}

void *ntmm_user_allocate(size_t bytes)
{
    PVOID Base = NULL;
    SIZE_T Size = bytes;
    return NT_SUCCESS(ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE))
               ? Base
               : NULL;
}

int32_t ntmm_user_free(void *address)
{
    SIZE_T Size = 0;
    return ZwFreeVirtualMemory(NtCurrentProcess(), &address, &Size, MEM_RELEASE);
}
