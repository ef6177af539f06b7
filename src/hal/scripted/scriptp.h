/*
 * scriptp.h - what the files of the scripted double share. SPDX-License-Identifier: MIT
 */
#pragma once
#include <pthread.h>
#include <ntdef.h>
#include <ntstatus.h>
#include "hal/hal.h"
#include "hal/walk.h"
#include "hal/scripted/script.h"

typedef struct _HALP_SCRIPT {
    BOOLEAN Started;
    SIZE_T WindowBytes;
    HALP_PHYSICAL Physical;
    HAL_UPCALLS Upcalls;
} HALP_SCRIPT;
extern HALP_SCRIPT HalpScript;

/* Records a call; TRUE if the script wants this one to fail. */
BOOLEAN HalpRecord(HAL_SCRIPT_KIND Kind, ULONG64 A, ULONG64 B, ULONG64 C);
static inline BOOLEAN HalpIsOurs(ULONG_PTR Va)
{
    return HalIsSystemAddress(Va) || HalIsUserAddress(Va);
}
extern _Thread_local BOOLEAN HalpUserMode; /* thread.c: accesses are a user's */
/* mmu.c */
NTSTATUS HalpStartMmu(ULONG Entries);
VOID HalpStopMmu(VOID);
/* thread.c */
VOID HalpStartThreads(VOID);
VOID HalpResetTime(VOID);
/* The word as its waiter sees it. */
LONG HalpReadWord(volatile LONG *Word);
