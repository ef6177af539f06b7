/*
 * faultrules.h - transfers that fail when a test says so: the same for every machine. SPDX-License-Identifier: MIT
 *
 * Owns the rules of HalInjectIoFault. One file of each HAL includes this and offers it three things: what a transfer is, how it
 * is done plainly (HalpTransferPlain), and where it goes meanwhile if it is to be late. A transfer is asked about once, when it
 * is handed over (HalpTakeFault); the first rule that is about it decides.
 *
 * Lock: HalpRules.Lock, innermost, a spin lock of a few instructions. Tests: tests/hal/block.c.
 */
#pragma once
#include <ntdef.h>
#include <ntstatus.h>
#include "hal/hal.h"

#define HALP_MAX_RULES 16u

static struct {
    volatile LONG Lock;
    volatile ULONG Count; /* rules in use; read without the lock to pass by */
    volatile ULONG64 Hits;
    HAL_IO_FAULT Rules[HALP_MAX_RULES];
} HalpRules;

static VOID HalpLockRules(VOID)
{
    while (__atomic_exchange_n(&HalpRules.Lock, 1, __ATOMIC_ACQUIRE) != 0) {
        HalYield();
    }
}
static VOID HalpUnlockRules(VOID)
{
    __atomic_store_n(&HalpRules.Lock, 0, __ATOMIC_RELEASE);
}

NTSTATUS HalInjectIoFault(const HAL_IO_FAULT *Fault)
{
    NTSTATUS Status = STATUS_SUCCESS;
    if (Fault != NULL && (ULONG)Fault->Kind >= (ULONG)HalIoFaultKinds) {
        return STATUS_INVALID_PARAMETER;
    }
    HalpLockRules();
    if (Fault == NULL) {
        __atomic_store_n(&HalpRules.Count, 0, __ATOMIC_RELAXED);
    } else if (HalpRules.Count == HALP_MAX_RULES) {
        Status = STATUS_INSUFFICIENT_RESOURCES;
    } else {
        HalpRules.Rules[HalpRules.Count] = *Fault;
        __atomic_store_n(&HalpRules.Count, HalpRules.Count + 1, __ATOMIC_RELAXED);
    }
    HalpUnlockRules();
    return Status;
}

ULONG64 HalQueryIoFaults(VOID)
{
    return __atomic_load_n(&HalpRules.Hits, __ATOMIC_RELAXED);
}

static VOID HalpForgetFaults(VOID)
{
    (VOID) HalInjectIoFault(NULL);
    __atomic_store_n(&HalpRules.Hits, 0, __ATOMIC_RELAXED);
}

static ULONG64 HalpIoBytes(const HAL_IO *Io)
{
    ULONG64 Bytes = 0;
    for (ULONG Index = 0; Index < Io->SpanCount; Index++) {
        Bytes += Io->Spans[Index].Bytes;
    }
    return Bytes;
}

static BOOLEAN HalpIsRuleAbout(const HAL_IO_FAULT *Rule, const HAL_IO *Io)
{
    BOOLEAN Writes = Rule->Kind == HalIoWriteError || Rule->Kind == HalIoNoSpace || Rule->Kind == HalIoTornWrite;
    if ((Rule->Kind != HalIoDelay && Writes != (Io->Write != FALSE)) || (Rule->Device != NULL && Rule->Device != Io->Device)) {
        return FALSE;
    }
    return Rule->Bytes == 0 || (Io->Offset < Rule->Offset + Rule->Bytes && Rule->Offset < Io->Offset + HalpIoBytes(Io));
}

/* Whether a rule hits this transfer; *Fault is the rule then. */
static BOOLEAN HalpTakeFault(const HAL_IO *Io, HAL_IO_FAULT *Fault)
{
    BOOLEAN Hit = FALSE;
    if (__builtin_expect(__atomic_load_n(&HalpRules.Count, __ATOMIC_RELAXED) == 0, 1)) {
        return FALSE;
    }
    HalpLockRules();
    for (ULONG Index = 0; Index < HalpRules.Count && !Hit; Index++) {
        HAL_IO_FAULT *Rule = &HalpRules.Rules[Index];
        if (!HalpIsRuleAbout(Rule, Io)) {
            continue;
        }
        if (Rule->After != 0) {
            Rule->After--;
            continue;
        }
        *Fault = *Rule;
        Hit = TRUE;
        __atomic_fetch_add(&HalpRules.Hits, 1, __ATOMIC_RELAXED);
        if (Rule->Count != 0 && --Rule->Count == 0) {
            for (ULONG Next = Index + 1; Next < HalpRules.Count; Next++) {
                HalpRules.Rules[Next - 1] = HalpRules.Rules[Next];
            }
            __atomic_store_n(&HalpRules.Count, HalpRules.Count - 1, __ATOMIC_RELAXED);
        }
    }
    HalpUnlockRules();
    return Hit;
}

/* Leaves the first Bytes bytes of the transfer. */
static VOID HalpCutSpans(HAL_IO *Io, ULONG64 Bytes)
{
    ULONG Index = 0;
    for (; Bytes != 0; Index++) {
        if (Io->Spans[Index].Bytes > Bytes) {
            Io->Spans[Index].Bytes = Bytes;
        }
        Bytes -= Io->Spans[Index].Bytes;
    }
    Io->SpanCount = Index;
}

/* Makes the transfer as the fault will have it; a delay is over already. Plain makes one without. */
static VOID HalpTransferFaulty(HAL_IO *Io, ULONG Kind, ULONG64 Value, VOID (*Plain)(HAL_IO *Io))
{
    ULONG64 Bytes = HalpIoBytes(Io), Half = Bytes / HAL_PAGE_SIZE / 2 * HAL_PAGE_SIZE;
    PUCHAR Victim = NULL;
    Io->Information = 0;
    switch (Kind) {
    case HalIoReadError:
    case HalIoWriteError:
        Io->Status = STATUS_IO_DEVICE_ERROR;
        return;
    case HalIoNoSpace:
        Io->Status = STATUS_DISK_FULL;
        return;
    case HalIoShortRead:
    case HalIoTornWrite:
        Io->Status = STATUS_SUCCESS;
        if (Half != 0) {
            HalpCutSpans(Io, Half);
            Plain(Io);
        }
        if (Kind == HalIoTornWrite && NT_SUCCESS(Io->Status)) {
            Io->Information = Bytes;
        }
        return;
    case HalIoCorrupt:
        Value = Bytes < HAL_PAGE_SIZE ? 0 : Value % (Bytes / HAL_PAGE_SIZE) * HAL_PAGE_SIZE;
        for (ULONG Index = 0; Victim == NULL; Index++) {
            if (Value < Io->Spans[Index].Bytes) {
                Victim = (PUCHAR)Io->Spans[Index].Base + Value;
            }
            Value -= Io->Spans[Index].Bytes;
        }
        Plain(Io);
        Victim[HAL_PAGE_SIZE / 2] ^= 0x10;
        return;
    default:
        Plain(Io);
        return;
    }
}
