/*
 * failpoint.c - one run of a campaign of failures, seen from inside: which stack asks for a resource, and is it told no?
 * SPDX-License-Identifier: MIT
 *
 * A failure point is a distinct stack that asks for a resource. Its key is a hash of the resource and of the frames from the
 * innermost to the outermost one that belongs to the driver, each as its module's name and the offset in it, so that a key
 * means the same in every process and at every address the images come to lie. It holds for one build of driver and library.
 *
 *     frames:   hook | pool, I/O manager ... | driver ... driver | who called the driver
 *               <------------------ hashed ------------------->
 *
 * Where no image's code is on a stack (a driver compiled into the program), the stack is cut where the run was entered; the
 * parent drops what has only the library's code on it.
 *
 * The table is in memory shared with the parent, because a run can end in any way. Keys found are written there at once;
 * names need debug information and are looked up at the end of the run (HostFailNameRecords), or by the parent.
 *
 * Invariants:
 *   N1  a key is in the table once; After is the number of failures at its first sight.
 *   N2  Path[i] is failed at most once, and after Path[i - 1].
 *   N3  nothing is recorded before the system runs, nor for an allocation that the recording itself makes.
 *
 * The table's lock is a spin lock of this file: the hook is called at any IRQL, on any thread; what it guards is short.
 */
#include "campaign.h"
#include "ex/exp.h"
#include "ldr/ldr.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MODULES 256

typedef struct _MODULE {
    ULONG_PTR Low, High, Base;
    ULONG64 Name;
} MODULE;

static MODULE Modules[MAX_MODULES]; /* of the program; filled by HostFailArm */
static unsigned ModuleCount;
static HOST_FAIL_TABLE *Armed;
static ULONG_PTR Boundary; /* return address in HostFailEnter's caller */
static _Thread_local BOOLEAN Busy;

static ULONG64 Mix(ULONG64 Hash, ULONG64 Value)
{
    Hash = (Hash ^ Value) * 0x9E3779B97F4A7C15ull;
    return Hash ^ (Hash >> 29);
}

static ULONG64 HashName(const char *Name)
{
    ULONG64 Hash = 0xCBF29CE484222325ull;
    const char *Slash = strrchr(Name, '/');
    for (const char *At = Slash != NULL ? Slash + 1 : Name; *At != 0; At++) {
        Hash = (Hash ^ (unsigned char)*At) * 0x100000001B3ull;
    }
    return Hash;
}

static int KeepModule(struct dl_phdr_info *Info, size_t Size, void *Context)
{
    (void)Size;
    (void)Context;
    for (int Index = 0; Index < Info->dlpi_phnum && ModuleCount < MAX_MODULES; Index++) {
        const ElfW(Phdr) *Header = &Info->dlpi_phdr[Index];
        if (Header->p_type == PT_LOAD && (Header->p_flags & PF_X) != 0) {
            Modules[ModuleCount++] = (MODULE){.Low = Info->dlpi_addr + Header->p_vaddr,
                                              .High = Info->dlpi_addr + Header->p_vaddr + Header->p_memsz,
                                              .Base = Info->dlpi_addr,
                                              .Name = HashName(Info->dlpi_name)};
        }
    }
    return 0;
}

/* The frame as module and offset. TRUE: code of a driver image. */
static BOOLEAN Normalise(ULONG_PTR Address, ULONG64 *Module, ULONG64 *Offset)
{
    LDR_IMAGE *Image = LdrpFindImage(Address - 1);
    if (Image != NULL) {
        *Module = HashName(Image->Name);
        *Offset = Address - (ULONG_PTR)Image->Base;
        return TRUE;
    }
    for (unsigned Index = 0; Index < ModuleCount; Index++) {
        if (Address - 1 - Modules[Index].Low < Modules[Index].High - Modules[Index].Low) {
            *Module = Modules[Index].Name;
            *Offset = Address - Modules[Index].Base;
            return FALSE;
        }
    }
    *Module = 0;
    *Offset = 0; /* no module's: the address means nothing in another process */
    return FALSE;
}

/* The record of a key, made if it is new; NULL: the table is full. Under the lock. */
static HOST_FAIL_RECORD *FindRecord(HOST_FAIL_TABLE *Table, ULONG64 Key, BOOLEAN *New)
{
    ULONG Slot = (ULONG)(Key >> 40) % ARRAYSIZE(Table->Index);
    while (Table->Index[Slot] != 0) {
        HOST_FAIL_RECORD *Record = &Table->Records[Table->Index[Slot] - 1];
        if (Record->Key == Key) {
            *New = FALSE;
            return Record;
        }
        Slot = (Slot + 1) % ARRAYSIZE(Table->Index);
    }
    *New = TRUE;
    if (Table->Count == HOST_FAIL_RECORDS) {
        Table->Lost++;
        return NULL;
    }
    HOST_FAIL_RECORD *Record = &Table->Records[Table->Count];
    Record->Key = Key;
    Table->Index[Slot] = (USHORT)++Table->Count;
    return Record;
}

/* KiFailRoutine */
static BOOLEAN Decide(KI_RESOURCE Resource, ULONG Tag, SIZE_T Bytes)
{
    HOST_FAIL_TABLE *Table = Armed;
    ULONG_PTR Frames[HOST_FAIL_FRAMES];
    ULONG64 Modules64[HOST_FAIL_FRAMES], Offsets[HOST_FAIL_FRAMES];
    BOOLEAN Fail = FALSE, New, Image = FALSE;
    if (Table == NULL || Busy || !ntmm_running()) {
        return FALSE;
    }
    Busy = TRUE;
    ULONG Count = HalCaptureStack(NULL, Frames, ARRAYSIZE(Frames), 0), Last = Count;
    for (ULONG Index = 0; Index < Count; Index++) {
        if (Normalise(Frames[Index], &Modules64[Index], &Offsets[Index])) {
            Last = Index + 1;
            Image = TRUE;
        } else if (!Image && Frames[Index] == Boundary) {
            Last = Index;
        }
    }
    if (Image || (!Table->ImagesOnly && Last != 0)) {
        ULONG64 Key = Mix(0x6E746D6D, Resource);
        for (ULONG Index = 0; Index < Last; Index++) {
            Key = Mix(Mix(Key, Modules64[Index]), Offsets[Index]);
        }
        Key |= 1; /* never 0 */
        while (__atomic_exchange_n(&Table->Lock, 1, __ATOMIC_ACQUIRE) != 0) {
            HalPause();
        }
        HOST_FAIL_RECORD *Record = FindRecord(Table, Key, &New);
        if (Record != NULL && New) {
            Record->Resource = (ULONG)Resource;
            Record->Tag = Tag;
            Record->Bytes = Bytes;
            Record->After = Table->Failed;
            Record->FrameCount = Last;
            Record->Image = Image;
            memcpy(Record->Frames, Frames, Last * sizeof(Frames[0]));
        }
        if (Table->Failed < Table->Depth && Table->Path[Table->Failed] == Key) {
            Table->Failed++;
            Fail = TRUE;
        }
        __atomic_store_n(&Table->Lock, 0, __ATOMIC_RELEASE);
    }
    Busy = FALSE;
    return Fail;
}

VOID HostFailArm(HOST_FAIL_TABLE *Table)
{
    ModuleCount = 0;
    dl_iterate_phdr(KeepModule, NULL);
    Armed = Table;
    KiFailRoutine = Decide;
    ExpSetSlow(EXP_SLOW_FAIL, 0); /* a system that starts later sees KiFailRoutine */
}

VOID HostFailDisarm(VOID)
{
    KiFailRoutine = NULL;
    ExpSetSlow(0, EXP_SLOW_FAIL);
    Armed = NULL;
}

HOST_FAIL_TABLE *HostFailArmed(VOID)
{
    return Armed;
}

static DECLSPEC_NOINLINE ntmm_fail_outcome CallRun(ntmm_fail_outcome (*Run)(void *), void *Context)
{
    Boundary = (ULONG_PTR)__builtin_return_address(0);
    ntmm_fail_outcome Outcome = Run(Context);
    __asm__ volatile("" ::: "memory"); /* not a tail call: the frame is the boundary */
    return Outcome;
}

ntmm_fail_outcome HostFailEnter(ntmm_fail_outcome (*Run)(void *), void *Context)
{
    ntmm_fail_outcome Outcome = CallRun(Run, Context);
    Boundary = 0;
    return Outcome;
}

/* ---- names ---- */

VOID HostFailNameRecord(HOST_FAIL_RECORD *Record)
{
    size_t Put = 0;
    unsigned Shown = 0;
    Record->Named = TRUE;
    for (ULONG Index = 0; Index < Record->FrameCount && Shown < 3; Index++) {
        HOST_SYMBOL Symbol[4];
        ULONG Count = HostSymbolize(Record->Frames[Index], FALSE, Symbol, ARRAYSIZE(Symbol));
        if (Symbol[Count - 1].Library || (Record->Image && !Symbol[Count - 1].Foreign) ||
            (Symbol[0].Module[0] == '?' && Symbol[0].Function[0] == 0)) {
            continue;
        }
        char Place[HOST_FAIL_WHERE];
        HostFormatPlace(&Symbol[0], Place, sizeof(Place));
        int Wrote = snprintf(Record->Where + Put, sizeof(Record->Where) - Put, "%s%s%s", Shown != 0 ? " <- " : "",
                             Symbol[0].Function[0] != 0 ? "" : Symbol[0].Module, Place);
        Put = Put + (size_t)Wrote < sizeof(Record->Where) ? Put + (size_t)Wrote : sizeof(Record->Where) - 1;
        Shown++;
    }
}

VOID HostFailNameRecords(HOST_FAIL_TABLE *Table)
{
    Busy = TRUE;
    for (ULONG Index = 0; Index < Table->Count; Index++) {
        if (!Table->Records[Index].Named) {
            HostFailNameRecord(&Table->Records[Index]);
        }
    }
    Busy = FALSE;
}

const char *HostFailResourceName(ULONG Resource)
{
    static const char *const Names[] = {"pool", "mapping", "lock", "pages"};
    return Resource < ARRAYSIZE(Names) ? Names[Resource] : "resource";
}

/* ---- leaks ---- */

static ULONG64 *Earlier; /* starts of the blocks that were there before */
static size_t EarlierCount, EarlierRoom;

static BOOLEAN RememberBlock(const EXP_BLOCK_INFO *Info, PVOID Context)
{
    (void)Context;
    if (EarlierCount == EarlierRoom) {
        size_t Room = EarlierRoom != 0 ? EarlierRoom * 2 : 256;
        ULONG64 *Blocks = realloc(Earlier, Room * sizeof *Blocks);
        if (Blocks == NULL) {
            return FALSE;
        }
        Earlier = Blocks;
        EarlierRoom = Room;
    }
    Earlier[EarlierCount++] = (ULONG64)Info->Start;
    return TRUE;
}

VOID HostFailRememberBlocks(VOID)
{
    EarlierCount = 0;
    ExpEnumerateBlocks(RememberBlock, NULL);
}

static BOOLEAN WasThere(ULONG64 Start)
{
    for (size_t Index = 0; Index < EarlierCount; Index++) {
        if (Earlier[Index] == Start) {
            return TRUE;
        }
    }
    return FALSE;
}

typedef struct _LEAKS {
    ULONG Count;
    HOST_FAIL_RECORD First;
} LEAKS;

static BOOLEAN CountLeak(const EXP_BLOCK_INFO *Info, PVOID Context)
{
    LEAKS *Leaks = Context;
    HOST_FAIL_RECORD Record = {.FrameCount = Info->AllocFrames < EXP_MAX_STACK ? Info->AllocFrames : EXP_MAX_STACK};
    BOOLEAN Own = FALSE;
    for (ULONG Index = 0; Index < Record.FrameCount && !Own; Index++) {
        HOST_SYMBOL Symbol;
        Record.Frames[Index] = Info->AllocStack[Index];
        Record.Image = Record.Image || LdrpFindImage(Record.Frames[Index] - 1) != NULL;
        /* The innermost frame that is not the library's decides; objects' bookkeeping is the library's. */
        Own = HostSymbolize(Record.Frames[Index], FALSE, &Symbol, 1) != 0 && !Symbol.Library && Symbol.Function[0] != 0;
    }
    if ((Own || Record.Image) && !WasThere((ULONG64)Info->Start)) {
        if (Leaks->Count++ == 0) {
            for (ULONG Index = 0; Index < Record.FrameCount; Index++) {
                Record.Frames[Index] = Info->AllocStack[Index];
            }
            Leaks->First = Record;
            HostFailNameRecord(&Leaks->First);
        }
    }
    return TRUE;
}

ULONG HostFailCountLeaks(CHAR *Where, SIZE_T Size)
{
    LEAKS *Leaks = calloc(1, sizeof(*Leaks));
    ULONG Count = 0;
    if (Leaks != NULL && ntmm_running()) {
        ExpEnumerateBlocks(CountLeak, Leaks);
        Count = Leaks->Count;
        snprintf(Where, Size, "%s", Leaks->First.Where);
    }
    free(Leaks);
    return Count;
}

/* ---- keys ---- */

BOOLEAN HostFailParseKey(const char *Text, ULONG64 *Path, ULONG *Depth)
{
    *Depth = 0;
    while (*Text != 0) {
        char *End;
        if (*Depth == HOST_FAIL_DEPTH || strspn(Text, "0123456789abcdef") == 0) {
            return FALSE;
        }
        Path[*Depth] = strtoull(Text, &End, 16);
        if (End - Text != 16 || Path[*Depth] == 0 || (*End != 0 && (*End != '-' || End[1] == 0))) {
            return FALSE;
        }
        ++*Depth;
        Text = *End == '-' ? End + 1 : End;
    }
    return *Depth != 0;
}

VOID HostFailFormatKey(const ULONG64 *Path, ULONG Depth, char *Text, SIZE_T Size)
{
    size_t Put = 0;
    Text[0] = 0;
    for (ULONG Index = 0; Index < Depth && Put < Size; Index++) {
        Put += (size_t)snprintf(Text + Put, Size - Put, "%s%016llx", Index != 0 ? "-" : "", (unsigned long long)Path[Index]);
    }
}
