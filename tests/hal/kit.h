/*
 * kit.h - a core in miniature for the tests of the HAL's contract. SPDX-License-Identifier: MIT
 *
 * It starts a machine of three runs with a hole and a device, keeps page tables in frames of it, and answers
 * page faults through a hook that a test sets. An access to simulated memory goes through KitRead and
 * KitWrite: over the Linux machine an ordinary load or store, over the scripted double its processor model.
 * KIT_SCRIPTED says which.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include <ntdef.h>
#include "hal/hal.h"
#include "hal/walk.h"
#if KIT_SCRIPTED
#include "hal/scripted/script.h"
#endif
#include <ntstatus.h>

#define KIT_P  HALP_PTE_PRESENT
#define KIT_W  HALP_PTE_WRITE
#define KIT_U  HALP_PTE_USER
#define KIT_A  HALP_PTE_ACCESSED
#define KIT_D  HALP_PTE_DIRTY
#define KIT_NX HALP_PTE_NX
#define KIT_RW (KIT_P | KIT_W)

/* The runs of every machine: [1, 4097), [8192, 8192 + Pages), device [0x100000, +16). Tables come from the
 * first. */
#define KIT_TABLES 1u
#define KIT_DATA   8192u
#define KIT_DEVICE 0x100000u

typedef struct _KIT_FAULTS {
    volatile ULONG Count; /* page-fault upcalls */
    volatile ULONG Traps; /* other traps */
    HAL_TRAP_FRAME Last;
} KIT_FAULTS;
extern KIT_FAULTS Kit;
extern volatile BOOLEAN KitCountOnly; /* several threads fault: Last is not kept */
/* What a test does about a fault; NULL: any fault fails the test. */
extern VOID (*KitOnFault)(HAL_TRAP_FRAME *Frame);
extern VOID (*KitOnTrap)(HAL_TRAP_FRAME *Frame);
extern VOID (*KitOnClock)(VOID);
extern VOID (*KitOnAttach)(VOID);
extern VOID (*KitOnDetach)(PVOID Thread);
extern BOOLEAN (*KitOnUnwind)(HAL_CONTEXT *Context);
extern VOID (*KitOnIoDone)(HAL_IO *Io); /* not reset by KitStart */
extern ULONG KitIoEngine;               /* of the next machine */

/* Starts a machine with DataPages pages in its second run; the caller becomes a thread of it. */
VOID KitStart(ULONG64 DataPages, ULONG TlbEntries);
VOID KitStop(VOID);
HAL_MACHINE KitMachine(ULONG64 DataPages);

/* The leaf entry of an address (tables are made as needed); writes it without flushing. */
volatile ULONG64 *KitPte(ULONG_PTR Va);
volatile ULONG64 *KitPde(ULONG_PTR Va);
VOID KitMap(ULONG_PTR Va, PFN_NUMBER Frame, ULONG64 Bits);
VOID KitUnmap(ULONG_PTR Va);
ULONG_PTR KitVa(ULONG64 Page); /* page of the kernel's range */
PFN_NUMBER KitRoot(VOID);
/* A root that shares the kernel's entries with the first and has nothing of the user's. */
PFN_NUMBER KitNewRoot(VOID);
VOID KitUseRoot(PFN_NUMBER Root);

/* Accesses as code running on the machine makes them. */
ULONG64 KitRead(ULONG_PTR Va);
VOID KitWrite(ULONG_PTR Va, ULONG64 Value);
/* The same, FALSE if the access faulted and the core would not have it (the kit skips the instruction). */
BOOLEAN KitTryRead(ULONG_PTR Va, ULONG64 *Value);
BOOLEAN KitTryWrite(ULONG_PTR Va, ULONG64 Value);
BOOLEAN KitTryFetch(ULONG_PTR Va);
/* For KitOnFault: give up the access that faulted. */
VOID KitRefuse(HAL_TRAP_FRAME *Frame);

/* A test program's main: every test with a machine of its own. */
#define KIT_TEST(Name) cmocka_unit_test_setup_teardown(Name, KitSetup, KitTeardown)
int KitSetup(void **State);    /* KitStart(2048, 0) */
int KitTeardown(void **State); /* KitStop, if a machine runs */

static inline ULONG64 *KitFrame(PFN_NUMBER Frame)
{
    return (ULONG64 *)HalWindow(Frame);
}
