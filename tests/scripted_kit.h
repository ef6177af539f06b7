/*
 * scripted_kit.h - what tests over the scripted machine share: the upcalls in miniature, and a machine with the kernel layer on it.
 * SPDX-License-Identifier: MIT
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ntddk.h>
#include "hal/scripted/script.h"
#include "mm/mi.h"

#define KIT_UNUSED __attribute__((unused))

static KIT_UNUSED KI_FAULT_ANSWER Answer; /* to the last page fault */

/* The trap code in miniature: what is not resumed is given up. */
static KIT_UNUSED VOID PageFault(HAL_TRAP_FRAME *Frame)
{
    MmAccessFault(Frame->FaultAddress, (ULONG)Frame->ErrorCode, KiCurrentThread()->Irql, Frame->Rip, &Answer);
    if (Answer.Status != STATUS_SUCCESS || Answer.StopCode) {
        Frame->Rip += 1;
    }
}
static KIT_UNUSED VOID Trap(HAL_TRAP_FRAME *Frame)
{
    Frame->Rip += 1;
}
static KIT_UNUSED VOID Nothing(VOID)
{
}
static KIT_UNUSED VOID Detached(PVOID Thread)
{
    (void)Thread;
}
static KIT_UNUSED BOOLEAN NoForeignCode(HAL_CONTEXT *Context)
{
    (void)Context;
    return FALSE;
}

/* A machine of this memory, and the kernel layer of one processor; IoDone NULL: no devices. */
static KIT_UNUSED VOID StartMachine(const HAL_RUN *Map, ULONG Count, VOID (*IoDone)(HAL_IO *Io))
{
    HAL_MACHINE Machine = {
        .Version = HAL_VERSION,
        .Runs = Map,
        .RunCount = Count,
        .SystemBytes = 128ull << 30,
        .UserBytes = 64ull << 30,
        .Upcalls = {PageFault, Trap, Nothing, (VOID(*)(VOID))KiAttachCurrentThread, Detached, NoForeignCode, IoDone}};
    HalScriptReset();
    assert_int_equal(HalStartMachine(&Machine), STATUS_SUCCESS);
    memset(&KeOptions, 0, sizeof(KeOptions));
    KeOptions.Processors = 1;
    KeOptions.RamBytes = (ULONG64)Map[0].PageCount << PAGE_SHIFT;
    assert_int_equal(KeInitSystem(), STATUS_SUCCESS);
}
/* Everything down; -1 if something was broken. */
static KIT_UNUSED int StopMachine(const CHAR *Broken)
{
    if (Broken) {
        print_error("%s\n", Broken);
    }
    MmShutdownSystem();
    KeShutdownSystem();
    HalStopMachine();
    return Broken ? -1 : 0;
}
