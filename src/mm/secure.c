/*
 * secure.c - promises to drivers that user memory stays. SPDX-License-Identifier: MIT
 *
 * Implements MmSecureVirtualMemory, MmSecureVirtualMemoryEx, MmUnsecureVirtualMemory.
 *
 *      MMVAD.Secures <-> MI_SECURE { range, what must stay possible } <- the cookie
 *
 * While a range is secured, it is not freed, decommitted, unmapped, or protected so that what was probed for would fail
 * (virtual.c, protect.c ask). Its pages may still be paged out, and its contents change. A promise ends with MmUnsecureVirtualMemory, in
 * the same process, or with the process; any other cookie is bug check 0x1A/0x15000.
 *
 * Flags: NO_CHANGE forbids every change of protection; EXCLUSIVE: no other promise overlaps, none may be made; USER_MODE_ONLY and
 * NO_INHERIT concern what this system does not have (kernel views, forks), and change nothing.
 * Locks: MI_SPACE.Lock. IRQL <= APC_LEVEL. Watch: tests/ddi/MmSecureVirtualMemory.c.
 */
#include "mm/mi.h"

#define MI_TAG_SECURE   'eSmM'
#define MI_SECURE_MAGIC 0x65635365u

static BOOLEAN MiMaySecure(PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End, BOOLEAN Write, BOOLEAN Exclusive)
{
    if (Vad == NULL || Vad->End < End || Vad->Type == MiVadLocked ||
        MiCountUsedEntries(Start, End) != (End - Start) >> PAGE_SHIFT) {
        return FALSE;
    }
    for (ULONG_PTR At = Start; At < End; At += PAGE_SIZE) {
        MI_PROT Protection = MiPteProtection(MiReadPte(MiPteOf(At)));
        if (!MiProtAllowsAccess(Protection) || MiProtIsGuard(Protection) || (Write && !MiProtAllowsWrite(Protection))) {
            return FALSE;
        }
    }
    for (PLIST_ENTRY Entry = Vad->Secures.Flink; Entry != &Vad->Secures; Entry = Entry->Flink) {
        PMI_SECURE Other = CONTAINING_RECORD(Entry, MI_SECURE, Link);
        if (Other->Start < End && Start < Other->End && (Other->Exclusive || Exclusive)) {
            return FALSE;
        }
    }
    return TRUE;
}

HANDLE MmSecureVirtualMemoryEx(PVOID Address, SIZE_T Size, ULONG ProbeMode, ULONG Flags)
{
    PMI_SPACE Space = MiCurrentSpace();
    ULONG_PTR Start = (ULONG_PTR)PAGE_ALIGN(Address);
    PMI_SECURE Secure = NULL;
    if ((ProbeMode != PAGE_READONLY && ProbeMode != PAGE_READWRITE) || Size == 0 || Space == NULL ||
        (ULONG_PTR)Address + Size - 1 < (ULONG_PTR)Address || (ULONG_PTR)Address + Size - 1 > (ULONG_PTR)MmHighestUserAddress ||
        (Flags & ~(ULONG)(MM_SECURE_EXCLUSIVE | MM_SECURE_NO_CHANGE | MM_SECURE_USER_MODE_ONLY | MM_SECURE_NO_INHERIT))) {
        return NULL;
    }
    ULONG_PTR End = ((ULONG_PTR)Address + Size + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1);
    PMI_SECURE New = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*New), MI_TAG_SECURE);
    if (New == NULL) {
        return NULL;
    }
    MiLockSpace(Space);
    PMMVAD Vad = Space->Dying ? NULL : MiFindVad(Space, Start);
    if (MiMaySecure(Vad, Start, End, ProbeMode == PAGE_READWRITE, (Flags & MM_SECURE_EXCLUSIVE) != 0)) {
        Secure = New;
        New->Magic = MI_SECURE_MAGIC;
        New->Start = Start;
        New->End = End;
        New->Write = ProbeMode == PAGE_READWRITE;
        New->NoChange = (Flags & MM_SECURE_NO_CHANGE) != 0;
        New->Exclusive = (Flags & MM_SECURE_EXCLUSIVE) != 0;
        New->Space = Space;
        InsertTailList(&Vad->Secures, &New->Link);
    }
    MiUnlockSpace(Space);
    if (Secure == NULL) {
        ExFreePoolWithTag(New, MI_TAG_SECURE);
    }
    return Secure;
}

HANDLE MmSecureVirtualMemory(PVOID Address, SIZE_T Size, ULONG ProbeMode)
{
    return MmSecureVirtualMemoryEx(Address, Size, ProbeMode, 0);
}

/* The cookie's promise among those of the space, found by its address alone: the cookie may be anything. */
static PMI_SECURE MiTakeSecure(PMI_SPACE Space, HANDLE Cookie)
{
    PMI_SECURE Found = NULL;
    if (Cookie == NULL) {
        return NULL;
    }
    MiLockSpace(Space);
    for (PMMVAD Vad = MiFirstVadIn(Space, Space->Hal.Low, Space->Hal.High); Vad && !Found; Vad = MiNextVad(Space, Vad)) {
        for (PLIST_ENTRY Entry = Vad->Secures.Flink; Entry != &Vad->Secures; Entry = Entry->Flink) {
            if (CONTAINING_RECORD(Entry, MI_SECURE, Link) == Cookie) {
                Found = Cookie;
                RemoveEntryList(Entry);
                break;
            }
        }
    }
    MiUnlockSpace(Space);
    return Found;
}

VOID MmUnsecureVirtualMemory(HANDLE SecureHandle)
{
    PMI_SPACE Space = MiCurrentSpace();
    PMI_SECURE Secure = Space ? MiTakeSecure(Space, SecureHandle) : NULL;
    if (Secure == NULL) {
        KiStop(MEMORY_MANAGEMENT,
               "MmUnsecureVirtualMemory was given what is not secured in this process: another process's, or ended already.",
               NULL, 0x15000, (ULONG_PTR)SecureHandle, 0, 0);
    }
    ExFreePoolWithTag(Secure, MI_TAG_SECURE);
}

VOID MiDropSecures(PMMVAD Vad)
{
    while (!IsListEmpty(&Vad->Secures)) {
        PMI_SECURE Secure = CONTAINING_RECORD(RemoveHeadList(&Vad->Secures), MI_SECURE, Link);
        ExFreePoolWithTag(Secure, MI_TAG_SECURE);
    }
}
