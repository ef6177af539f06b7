/*
 * validate.c - every validator of the memory manager, in one call. SPDX-License-Identifier: MIT
 *
 * MiValidateAll may be called at any time at PASSIVE_LEVEL, while other threads work. What entries, frames and working sets say of
 * each other holds at every moment that all their locks are free; so it takes them all (the world stops: nobody can change
 * an entry of pageable memory, a frame or a list) and looks. That is strict. The other structures are checked under their own
 * locks, and some of what they say holds at rest only (a counter goes up before its list does): such a finding counts if it is still
 * there after a hundred more looks.
 *
 * The text of the first broken invariant begins with its number, which the owning file's opening explains.
 *
 * Locks: all of mi.h's, in its order.
 */
#include "mm/mi.h"

#define MI_LOOKS 100u

#if NTMM_DEEP
/* A broken invariant of ours, found by the deep preset: nothing can be trusted any more. */
VOID MiAssertDeep(const CHAR *Broken)
{
    if (Broken) {
        KiStop(MEMORY_MANAGEMENT, Broken, NULL, 0x8888, 0, 0, 0);
    }
}
#endif

static const CHAR *MiValidateStopped(VOID)
{
    PMI_SPACE Locked[MI_MAX_SPACES];
    ULONG Count = 0;
    for (ULONG Index = 0; Index < MiState->SpaceCount; Index++) {
        if (__atomic_load_n(&MiState->Spaces[Index].Used, __ATOMIC_ACQUIRE)) {
            MiLockSpace(&MiState->Spaces[Index]);
            Locked[Count++] = &MiState->Spaces[Index];
        }
    }
    KiAcquireLock(&MiState->TableLock);
    for (ULONG Index = 0; Index < MI_PTE_LOCKS; Index++) {
        KiAcquireLock(&MiState->PteLocks[Index]);
    }
    for (ULONG Index = 0; Index < MI_PTE_LOCKS; Index++) {
        KiAcquireLock(&MiState->PrototypeLocks[Index]);
    }
    KiAcquireLock(&MiState->PfnLock);
    const CHAR *Broken = MiValidateFramesLocked();
    if (!Broken) {
        Broken = MiValidatePageTables();
    }
    if (!Broken) {
        Broken = MiValidateSegments();
    }
    if (!Broken) {
        KiAcquireLock(&MiState->Pager.WorkingSetLock);
        Broken = MiValidateWorkingSets();
        KiReleaseLock(&MiState->Pager.WorkingSetLock);
    }
    if (!Broken) {
        Broken = MiValidateCommitment();
    }
    KiReleaseLock(&MiState->PfnLock);
    for (ULONG Index = MI_PTE_LOCKS; Index-- > 0;) {
        KiReleaseLock(&MiState->PrototypeLocks[Index]);
    }
    for (ULONG Index = MI_PTE_LOCKS; Index-- > 0;) {
        KiReleaseLock(&MiState->PteLocks[Index]);
    }
    KiReleaseLock(&MiState->TableLock);
    while (Count > 0) {
        MiUnlockSpace(Locked[--Count]);
    }
    return Broken;
}

static const CHAR *MiValidateOnce(VOID)
{
    const CHAR *Broken = MiValidateStopped();
    if (!Broken) {
        Broken = MiValidateRegions();
    }
    if (!Broken) {
        Broken = MiValidateMappings();
    }
    if (!Broken) {
        Broken = MiValidateSpaces();
    }
    if (!Broken) {
        Broken = MiValidatePageFiles();
    }
    if (!Broken) {
        Broken = MiValidateImages();
    }
    return Broken ? Broken : MiValidateConditions();
}

const CHAR *MiValidateAll(VOID)
{
    const CHAR *Broken = MiValidateOnce();
    for (ULONG Look = 0; Broken && Look < MI_LOOKS; Look++) {
        HalYield();
        Broken = MiValidateOnce();
    }
    return Broken;
}
