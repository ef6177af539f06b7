/*
 * pte.h - page table entries: every form, its constructor and its predicate. Nobody shifts bits of an entry
 * elsewhere. SPDX-License-Identifier: MIT
 *
 * An entry is 64 bits. Bit 0 says who reads it: set, the MMU does (architecture's form); clear, only the
 * memory manager does (a software form). The software forms are laid out as on NT for x64, so that a
 * debugger's habits carry over:
 *
 *             63  62..52   51..12 / 63..32            11    10     9..5        4..1      0
 *   valid     NX  (core)   frame number               IO    -      COW .. D A  PCD PWT U W   1
 *   zero      0                                                                          0   address not in
 * use demand 0  0   ..       0                          0     0      protection  0         0   a page of
 * zeroes, charged (bits 16..12: 1 + the node wanted, or 0; bit 17: contents were lost)
 *   transition             frame number               1     0      protection  -         0
 * frame kept, not mapped page file              page offset in file 63..32 0     0      protection  file 0
 *   prototype              address 63..16             0     1      protection  -         0   ask the
 * prototype entry; in a prototype entry, with address 0: the page is in its file
 *
 * In a valid entry bit 9 is copy-on-write and bit 11 marks a mapping of I/O space; bits 52 to 54 are the page's age, bit 55
 * says that it is in a working set, bit 56 that the frame is a prototype entry's (all the core's by hal.h, 4). "Protection" is NT's five-bit code, MI_PROT below; the whole code MI_PROT_NOACCESS means no
 * access, committed or not. The MMU sets Accessed and Dirty behind our back, so a valid entry is only changed
 * by exchange or compare-exchange.
 */
#pragma once
#include "ke/ki.h"

typedef struct _MMPTE {
    ULONG64 Long;
} MMPTE;
typedef volatile MMPTE *PMMPTE;
C_ASSERT(sizeof(MMPTE) == 8);

/* ---- the five-bit protection ---- */
typedef ULONG MI_PROT;
#define MI_PROT_NONE              0u /* no entry */
#define MI_PROT_READONLY          1u
#define MI_PROT_EXECUTE           2u
#define MI_PROT_EXECUTE_READ      3u
#define MI_PROT_READWRITE         4u
#define MI_PROT_WRITECOPY         5u
#define MI_PROT_EXECUTE_READWRITE 6u
#define MI_PROT_EXECUTE_WRITECOPY 7u
#define MI_PROT_BASE              7u
#define MI_PROT_NOCACHE           0x08u
#define MI_PROT_GUARD             0x10u
#define MI_PROT_WRITECOMBINE      0x18u /* with a base protection */
#define MI_PROT_NOACCESS          0x18u /* base 0 */
#define MI_PROT_INVALID           0xFFu
#define MI_PROT_MASK              0x1Fu

static inline BOOLEAN MiProtAllowsAccess(MI_PROT Protection)
{
    return (Protection & MI_PROT_BASE) != 0;
}
static inline BOOLEAN MiProtAllowsWrite(MI_PROT Protection)
{
    return (Protection & MI_PROT_BASE) >= MI_PROT_READWRITE;
}
static inline BOOLEAN MiProtIsCopyOnWrite(MI_PROT Protection)
{
    return (Protection & MI_PROT_BASE) == MI_PROT_WRITECOPY || (Protection & MI_PROT_BASE) == MI_PROT_EXECUTE_WRITECOPY;
}
static inline BOOLEAN MiProtAllowsExecute(MI_PROT Protection)
{
    MI_PROT Base = Protection & MI_PROT_BASE;
    return Base == MI_PROT_EXECUTE || Base == MI_PROT_EXECUTE_READ || Base >= MI_PROT_EXECUTE_READWRITE;
}
static inline BOOLEAN MiProtIsGuard(MI_PROT Protection)
{
    return (Protection & 0x18u) == MI_PROT_GUARD;
}

/* ---- bits, private to this header ---- */
#define MI_PTE_P     0x001ull
#define MI_PTE_W     0x002ull
#define MI_PTE_U     0x004ull
#define MI_PTE_PWT   0x008ull
#define MI_PTE_PCD   0x010ull
#define MI_PTE_A     0x020ull
#define MI_PTE_D     0x040ull
#define MI_PTE_LARGE 0x080ull
#define MI_PTE_COW   0x200ull
#define MI_PTE_PROTO 0x400ull              /* software forms */
#define MI_PTE_TRANS 0x800ull              /* software forms */
#define MI_PTE_IO    0x800ull              /* valid form */
#define MI_PTE_AGE   0x0070000000000000ull /* valid form, pageable: looks of the clock since the last access */
#define MI_PTE_WS    0x0080000000000000ull /* valid form: in a working set, so the frame may be taken away */
C_ASSERT(MI_PTE_WS == HAL_PTE_REVOCABLE);
#define MI_PTE_SHARE 0x0100000000000000ull /* valid form: the frame belongs to a prototype entry, this one shares it */
#define MI_PTE_NX    0x8000000000000000ull
#define MI_PTE_FRAME 0x000FFFFFFFFFF000ull
#define MI_PTE_NODE  0x000000000001F000ull /* demand zero */
#define MI_PTE_VIEW  0x000000000000F000ull /* prototype, in a view: node */
#define MI_PTE_RELOC 0x0000000000000002ull /* prototype, in a view */
#define MI_PTE_LOST  0x0000000000020000ull /* demand zero: there were contents, which somebody said need not be kept */

/* ---- reading and writing entries: always whole, always atomic ---- */
static inline MMPTE MiReadPte(PMMPTE Pte)
{
    return (MMPTE){__atomic_load_n(&Pte->Long, __ATOMIC_ACQUIRE)};
}
static inline VOID MiWritePte(PMMPTE Pte, MMPTE Value)
{
    __atomic_store_n(&Pte->Long, Value.Long, __ATOMIC_RELEASE);
}
static inline MMPTE MiExchangePte(PMMPTE Pte, MMPTE Value)
{
    return (MMPTE){__atomic_exchange_n(&Pte->Long, Value.Long, __ATOMIC_ACQ_REL)};
}
static inline BOOLEAN MiCompareExchangePte(PMMPTE Pte, MMPTE *Expected, MMPTE Value)
{
    return __atomic_compare_exchange_n(&Pte->Long, &Expected->Long, Value.Long, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* ---- constructors ---- */
#define MI_ZERO_PTE ((MMPTE){0})

/* A leaf the MMU may use. Accessed and Dirty are set up front: what we make valid is about to be used, and a
 * write then costs no second fault. NoAccess has no valid form. */
static inline MMPTE MiPteValid(PFN_NUMBER Page, MI_PROT Protection, BOOLEAN User)
{
    ULONG64 Long = (Page << 12) | MI_PTE_P | MI_PTE_A;
    if (MiProtIsCopyOnWrite(Protection)) {
        Long |= MI_PTE_COW;
    } else if (MiProtAllowsWrite(Protection)) {
        Long |= MI_PTE_W | MI_PTE_D;
    }
    if (!MiProtAllowsExecute(Protection)) {
        Long |= MI_PTE_NX;
    }
    if (User) {
        Long |= MI_PTE_U;
    }
    if ((Protection & 0x18u) == MI_PROT_NOCACHE) {
        Long |= MI_PTE_PCD | MI_PTE_PWT;
    } else if ((Protection & 0x18u) == MI_PROT_WRITECOMBINE) {
        Long |= MI_PTE_PWT;
    }
    return (MMPTE){Long};
}
static inline MMPTE MiPteIoSpace(PFN_NUMBER Page, MI_PROT Protection)
{
    return (MMPTE){MiPteValid(Page, Protection, FALSE).Long | MI_PTE_IO};
}
/* The same leaf, but for user mode. */
static inline MMPTE MiPteForUser(MMPTE Pte)
{
    return (MMPTE){Pte.Long | MI_PTE_U};
}
/* As MiPteValid, for contents that a page file has too: a write shall be noticed. */
static inline MMPTE MiPteValidClean(PFN_NUMBER Page, MI_PROT Protection, BOOLEAN User)
{
    return (MMPTE){MiPteValid(Page, Protection, User).Long & ~MI_PTE_D};
}
/* An entry of a directory: all rights, the leaf decides. */
static inline MMPTE MiPteTable(PFN_NUMBER Page)
{
    return (MMPTE){(Page << 12) | MI_PTE_P | MI_PTE_W | MI_PTE_U | MI_PTE_A};
}
static inline MMPTE MiPteDemandZero(MI_PROT Protection)
{
    return (MMPTE){(ULONG64)(Protection & MI_PROT_MASK) << 5};
}
/* Its frame is wanted from a NUMA node: 1 + its number; 0: from that of whoever touches it first. */
/* What the entry of a page becomes whose contents need not be kept, once its frame is taken (MMPFN.OriginalPte). */
static inline MMPTE MiPteLost(MI_PROT Protection)
{
    return (MMPTE){(ULONG64)(Protection & MI_PROT_MASK) << 5 | MI_PTE_LOST};
}
static inline BOOLEAN MiPteIsLost(MMPTE Pte) /* demand zero, or OriginalPte */
{
    return Pte.Long != 0 && (Pte.Long & ~((ULONG64)MI_PROT_MASK << 5)) == MI_PTE_LOST;
}
static inline MMPTE MiPteOnNode(MMPTE DemandZero, ULONG NodePlusOne)
{
    return (MMPTE){DemandZero.Long | ((ULONG64)NodePlusOne << 12 & MI_PTE_NODE)};
}
static inline ULONG MiPteNode(MMPTE DemandZero) /* 1 + the node, or 0 */
{
    return (ULONG)((DemandZero.Long & MI_PTE_NODE) >> 12);
}
static inline MMPTE MiPteTransition(PFN_NUMBER Page, MI_PROT Protection)
{
    return (MMPTE){(Page << 12) | MI_PTE_TRANS | (ULONG64)(Protection & MI_PROT_MASK) << 5};
}
static inline MMPTE MiPtePageFile(ULONG File, ULONG PageOffset, MI_PROT Protection)
{
    return (MMPTE){(ULONG64)PageOffset << 32 | (ULONG64)(Protection & MI_PROT_MASK) << 5 | (ULONG64)(File & 0xFu) << 1};
}
static inline MMPTE MiPtePrototype(PMMPTE Prototype)
{
    return (MMPTE){(ULONG64)(ULONG_PTR)Prototype << 16 | MI_PTE_PROTO};
}
/* The same with the protection that the page has here; without one it is READWRITE. */
static inline MMPTE MiPtePrototypeFor(PMMPTE Prototype, MI_PROT Protection)
{
    return (MMPTE){MiPtePrototype(Prototype).Long | (ULONG64)(Protection & MI_PROT_MASK) << 5};
}
/* In a view: the page is shown by a copy of the view's own, with its relocations applied (relocate.c). */
static inline MMPTE MiPteRelocated(MMPTE Prototype)
{
    return (MMPTE){Prototype.Long | MI_PTE_RELOC};
}
/* In a view that wants frames of a NUMA node: 1 + its number. */
static inline MMPTE MiPteViewOnNode(MMPTE Prototype, ULONG NodePlusOne)
{
    return (MMPTE){Prototype.Long | ((ULONG64)NodePlusOne << 12 & MI_PTE_VIEW)};
}

/* What a prototype entry says of a page that only its file has. */
static inline MMPTE MiPteInFile(MI_PROT Protection)
{
    return (MMPTE){MI_PTE_PROTO | (ULONG64)(Protection & MI_PROT_MASK) << 5};
}

/* ---- predicates and parts ---- */
static inline BOOLEAN MiPteIsZero(MMPTE Pte)
{
    return Pte.Long == 0;
}
static inline BOOLEAN MiPteIsValid(MMPTE Pte)
{
    return (Pte.Long & MI_PTE_P) != 0;
}
static inline BOOLEAN MiPteIsLarge(MMPTE Pte)
{
    return (Pte.Long & MI_PTE_P) && (Pte.Long & MI_PTE_LARGE);
}
static inline BOOLEAN MiPteIsPrototype(MMPTE Pte)
{
    return !(Pte.Long & MI_PTE_P) && (Pte.Long & MI_PTE_PROTO);
}
static inline BOOLEAN MiPteIsInFile(MMPTE Pte) /* of a prototype entry */
{
    return MiPteIsPrototype(Pte) && Pte.Long >> 16 == 0;
}
static inline BOOLEAN MiPteIsRelocated(MMPTE Pte) /* prototype, in a view */
{
    return (Pte.Long & MI_PTE_RELOC) != 0;
}
static inline ULONG MiPteViewNode(MMPTE Pte) /* prototype, in a view: 1 + the node, or 0 */
{
    return (ULONG)((Pte.Long & MI_PTE_VIEW) >> 12);
}
/* Whether a view's entry shows a prototype entry with a protection, as it is; the node it wants does not matter. */
static inline BOOLEAN MiPteShowsAs(MMPTE Pte, PMMPTE Prototype, MI_PROT Protection)
{
    return (Pte.Long & ~MI_PTE_VIEW) == MiPtePrototypeFor(Prototype, Protection).Long;
}
/* A view's prototype entry with another protection. */
static inline MMPTE MiPteViewWith(MMPTE Pte, MI_PROT Protection)
{
    return (MMPTE){(Pte.Long & ~((ULONG64)MI_PROT_MASK << 5)) | (ULONG64)(Protection & MI_PROT_MASK) << 5};
}
static inline BOOLEAN MiPteIsTransition(MMPTE Pte)
{
    return (Pte.Long & (MI_PTE_P | MI_PTE_PROTO | MI_PTE_TRANS)) == MI_PTE_TRANS;
}
static inline BOOLEAN MiPteIsPageFile(MMPTE Pte)
{
    return !(Pte.Long & (MI_PTE_P | MI_PTE_PROTO | MI_PTE_TRANS)) && (Pte.Long >> 32) != 0;
}
static inline BOOLEAN MiPteIsDemandZero(MMPTE Pte)
{
    return Pte.Long != 0 && (Pte.Long & ~((ULONG64)MI_PROT_MASK << 5 | MI_PTE_NODE | MI_PTE_LOST)) == 0;
}
static inline PFN_NUMBER MiPtePage(MMPTE Pte) /* valid or transition */
{
    return (Pte.Long & MI_PTE_FRAME) >> 12;
}
static inline ULONG MiPteFileNumber(MMPTE Pte)
{
    return (ULONG)(Pte.Long >> 1) & 0xFu;
}
static inline ULONG MiPteFileOffset(MMPTE Pte)
{
    return (ULONG)(Pte.Long >> 32);
}
static inline PMMPTE MiPtePrototypeAddress(MMPTE Pte)
{
    return (PMMPTE)(ULONG_PTR)((LONG64)Pte.Long >> 16);
}
static inline BOOLEAN MiPteIsWritable(MMPTE Pte) /* valid */
{
    return (Pte.Long & MI_PTE_W) != 0;
}
static inline BOOLEAN MiPteIsCopyOnWrite(MMPTE Pte) /* valid */
{
    return (Pte.Long & MI_PTE_COW) != 0;
}
static inline BOOLEAN MiPteIsNoExecute(MMPTE Pte) /* valid */
{
    return (Pte.Long & MI_PTE_NX) != 0;
}
static inline BOOLEAN MiPteIsUser(MMPTE Pte) /* valid */
{
    return (Pte.Long & MI_PTE_U) != 0;
}
static inline BOOLEAN MiPteIsDirty(MMPTE Pte) /* valid */
{
    return (Pte.Long & MI_PTE_D) != 0;
}
static inline BOOLEAN MiPteIsAccessed(MMPTE Pte) /* valid */
{
    return (Pte.Long & MI_PTE_A) != 0;
}
static inline BOOLEAN MiPteIsInWorkingSet(MMPTE Pte) /* valid */
{
    return (Pte.Long & MI_PTE_WS) != 0;
}
static inline MMPTE MiPteInWorkingSet(MMPTE Pte)
{
    return (MMPTE){Pte.Long | MI_PTE_WS};
}
static inline MMPTE MiPteOutOfWorkingSet(MMPTE Pte)
{
    return (MMPTE){Pte.Long & ~(MI_PTE_WS | MI_PTE_AGE)};
}
static inline BOOLEAN MiPteIsShared(MMPTE Pte) /* valid */
{
    return (Pte.Long & MI_PTE_SHARE) != 0;
}
static inline MMPTE MiPteShared(MMPTE Pte)
{
    return (MMPTE){Pte.Long | MI_PTE_SHARE};
}
/* A valid entry with another protection: Dirty, Accessed and what it is to working sets stay. */
static inline MMPTE MiPteWithProtection(MMPTE Pte, MI_PROT Protection)
{
    ULONG64 Kept = Pte.Long & (MI_PTE_A | MI_PTE_D | MI_PTE_U | MI_PTE_AGE | MI_PTE_WS | MI_PTE_SHARE);
    return (MMPTE){(MiPteValid((Pte.Long & MI_PTE_FRAME) >> 12, Protection, FALSE).Long & ~(MI_PTE_A | MI_PTE_D)) | Kept};
}
#define MI_AGE_MAX 7u
static inline ULONG MiPteAge(MMPTE Pte) /* valid */
{
    return (ULONG)((Pte.Long & MI_PTE_AGE) >> 52);
}
/* The entry after a look of the clock: not accessed, and this old. */
static inline MMPTE MiPteWithAge(MMPTE Pte, ULONG Age)
{
    return (MMPTE){(Pte.Long & ~(MI_PTE_A | MI_PTE_AGE)) | ((ULONG64)Age * (MI_PTE_AGE & -MI_PTE_AGE))};
}
/* As if it had not been written to. */
static inline MMPTE MiPteCleaned(MMPTE Pte) /* valid */
{
    return (MMPTE){Pte.Long & ~MI_PTE_D};
}
/* A page-file (or prototype) form with another protection: what a transition entry becomes when its frame goes. */
static inline MMPTE MiPteBacking(MMPTE Original, MI_PROT Protection)
{
    return (MMPTE){(Original.Long & ~((ULONG64)MI_PROT_MASK << 5)) | (ULONG64)(Protection & MI_PROT_MASK) << 5};
}
static inline BOOLEAN MiPteIsIoSpace(MMPTE Pte) /* valid */
{
    return (Pte.Long & MI_PTE_IO) != 0;
}
/* The protection of any entry. */
static inline MI_PROT MiPteProtection(MMPTE Pte)
{
    MI_PROT Protection;
    if (!MiPteIsValid(Pte)) {
        Protection = (MI_PROT)(Pte.Long >> 5) & MI_PROT_MASK;
        return MiPteIsPrototype(Pte) && Protection == 0 ? MI_PROT_READWRITE : Protection;
    }
    if (MiPteIsCopyOnWrite(Pte)) {
        Protection = MiPteIsNoExecute(Pte) ? MI_PROT_WRITECOPY : MI_PROT_EXECUTE_WRITECOPY;
    } else if (MiPteIsWritable(Pte)) {
        Protection = MiPteIsNoExecute(Pte) ? MI_PROT_READWRITE : MI_PROT_EXECUTE_READWRITE;
    } else {
        Protection = MiPteIsNoExecute(Pte) ? MI_PROT_READONLY : MI_PROT_EXECUTE_READ;
    }
    if (Pte.Long & MI_PTE_PCD) {
        Protection |= MI_PROT_NOCACHE;
    } else if (Pte.Long & MI_PTE_PWT) {
        Protection |= MI_PROT_WRITECOMBINE;
    }
    return Protection;
}
/* The valid form of a transition entry, and back. */
static inline MMPTE MiPteTransitionToValid(MMPTE Pte, MI_PROT Protection, BOOLEAN User)
{
    return MiPteValid(MiPtePage(Pte), Protection, User);
}
/* A valid entry like Template for another frame. */
static inline MMPTE MiPteWithPage(MMPTE Template, PFN_NUMBER Page)
{
    return (MMPTE){(Template.Long & ~MI_PTE_FRAME) | (Page << 12)};
}
