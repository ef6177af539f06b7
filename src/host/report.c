/*
 * report.c - the block that a bug check prints, and its data form. SPDX-License-Identifier: MIT
 *
 * The contract of the text: line 1 is "*** STOP: 0x%08X (0x%016llX,0x%016llX,0x%016llX,0x%016llX)", line 2 the code's name, line 3
 * in words what the code did wrong; then the driver and the function, IRQL, processor and thread, the call stack without
 * the library's own frames, and for a pool block what is known about it with the stacks that allocated and freed it.
 *
 * A stop may come on a small kernel stack, with any lock of the C library held by the thread that stops. So HostReport goes to a
 * stack of its own and writes the first three lines at once, without the heap; the rest needs libdw and the heap, and has a
 * watchdog that ends the process if it hangs.
 *
 * Watch it: tests/unit/report_test.c, tests/misuse.
 */
#include "ex/ex.h"
#include "host.h"
#include "ldr/ldr.h"
#include "mm/mm.h"
#include "vf/vf.h"

#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK_BYTES      (1u << 20)
#define WATCHDOG_SECONDS 20
#define MAX_INLINE       8

extern BOOLEAN ExpDescribeBlock(const volatile VOID *Address, EXP_BLOCK_INFO *Info) __attribute__((weak));

const char *ntmm_bugcheck_name(uint32_t code)
{
    return KiBugCheckName(code);
}

/* ---- the text ---- */
static VOID PutHead(HOST_TEXT *Text, const ntmm_bugcheck *Stop)
{
    HostPut(Text, "*** STOP: 0x%08X (0x%016llX,0x%016llX,0x%016llX,0x%016llX)\n%s\n%s\n", Stop->code,
            (unsigned long long)Stop->parameters[0], (unsigned long long)Stop->parameters[1],
            (unsigned long long)Stop->parameters[2], (unsigned long long)Stop->parameters[3], Stop->name, Stop->words);
}

/* ---- the data form ---- */

static VOID DescribeBasics(const KI_BUGCHECK *Stop, ntmm_bugcheck *Out)
{
    const CHAR *Name = KiBugCheckName(Stop->Code);
    const ntmm_link *Link;
    uint64_t Parameters[4];
    memset(Out, 0, sizeof *Out);
    Out->code = Stop->Code;
    for (int I = 0; I < 4; I++)
        Out->parameters[I] = Parameters[I] = Stop->Parameters[I];
    snprintf(Out->name, sizeof Out->name, "%s", Name ? Name : "UNKNOWN_BUG_CHECK");
    if (Stop->Words)
        snprintf(Out->words, sizeof Out->words, "%s", Stop->Words);
    else if (Stop->StackBytes)
        snprintf(Out->words, sizeof Out->words, "The kernel stack of %llu KiB is used up: a double fault in the page below it.",
                 (unsigned long long)(Stop->StackBytes >> 10));
    else if (Stop->Access && Stop->Code != MEMORY_MANAGEMENT)
        HostAccessWords(Stop->Code, Stop->AccessKind, Stop->AccessAddress, Out->words, sizeof Out->words);
    else
        HostWords(Stop->Code, Parameters, Out->words, sizeof Out->words);
    Out->irql = Stop->Irql;
    Out->processor = Stop->Processor;
    Out->thread = Stop->Thread ? (uint32_t)Stop->Thread->Id : 0;
    Out->block = Stop->Block;
    if (!Out->block)
        Out->block = HostObjectOf(Stop->Code, Parameters);
    Out->suspect = Stop->Suspect;
    Out->trapped = Stop->Trapped;
    Out->frame_count = Stop->FrameCount < ARRAYSIZE(Out->frames) ? Stop->FrameCount : ARRAYSIZE(Out->frames);
    for (unsigned I = 0; I < Out->frame_count; I++)
        Out->frames[I] = Stop->Frames[I];
    if (Out->trapped && Out->frame_count)
        HostDescribeInstruction(Out->frames[0], Out->instruction, sizeof Out->instruction);
    HostQuietMemoryTool(TRUE);
    Link = HostFindLinks(Stop, Out);
    if (Link)
        Out->block = (const void *)(ULONG_PTR)Link->address;
    HostTakePicture(Stop, Out->block, Link, Out);
    HostQuietMemoryTool(FALSE);
    Out->address = Stop->Driver ? (uint64_t)(ULONG_PTR)Stop->Driver : Out->frame_count ? Out->frames[0] : 0;
}

VOID HostFormatPlace(const HOST_SYMBOL *Symbol, char *Text, size_t Size)
{
    const char *File = strrchr(Symbol->File, '/');
    File = File ? File + 1 : Symbol->File;
    if (Symbol->Function[0] && File[0])
        snprintf(Text, Size, "%s (%s:%u)", Symbol->Function, File, Symbol->Line);
    else if (Symbol->Function[0])
        snprintf(Text, Size, "%s+0x%llx", Symbol->Function, (unsigned long long)Symbol->Offset);
    else
        snprintf(Text, Size, "+0x%llx", (unsigned long long)Symbol->Offset);
}

/* The C library, the sanitizers' run time, which clang links into the program, and the stack probe that compilers link into drivers: memcpy
 * there works for whoever called it. */
static BOOLEAN IsRuntime(const HOST_SYMBOL *Symbol)
{
    static const char *const Modules[] = {"libc.so", "ld-linux", "libasan", "libubsan", "libtsan", "libclang_rt"};
    static const char *const Functions[] = {"__asan_",         "__tsan_",    "__interceptor_",   "__sanitizer_",
                                            "___interceptor_", "_ZN6__asan", "_ZN11__sanitizer", "__msan_",
                                            "___chkstk",       "__chkstk"};
    for (unsigned I = 0; I < ARRAYSIZE(Modules); I++)
        if (!strncmp(Symbol->Module, Modules[I], strlen(Modules[I])))
            return TRUE;
    for (unsigned I = 0; I < ARRAYSIZE(Functions); I++)
        if (!strncmp(Symbol->Function, Functions[I], strlen(Functions[I])))
            return TRUE;
    return FALSE;
}

/* Who is to be named for a frame, of what was inlined there: the innermost that is neither the library's nor the run time's.
 * Count: nobody. */
static ULONG ToBlame(const HOST_SYMBOL *Symbols, ULONG Count)
{
    for (ULONG I = 0; I < Count; I++)
        if (!Symbols[I].Library && !Symbols[I].Header && !IsRuntime(&Symbols[I]))
            return I;
    return Count;
}

/* Cuts the library's own frames off the inner end, and names who is to blame: where a jump ended in data or nowhere, who jumped; where
 * nobody's code is on the stack, whose was last. */
static VOID DescribeBlame(const KI_BUGCHECK *Stop, ntmm_bugcheck *Out)
{
    const volatile VOID *Blame = Stop->Driver;
    HOST_SYMBOL Symbols[MAX_INLINE];
    unsigned First = 0, At;
    ULONG Count, Name = 0;
    BOOLEAN Found = FALSE, Jumped = FALSE;

    for (unsigned I = 0; I < Out->frame_count && !Found; I++) {
        HostSymbolize(Out->frames[I], I == 0 && Out->trapped, Symbols, MAX_INLINE);
        if (!Symbols[0].Library) {
            First = I;
            Found = TRUE;
            /* "?" and "(no image)": no module is there */
            Jumped = I == 0 && Out->trapped &&
                     (Out->code == ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY || Symbols[0].Module[0] == '?' ||
                      Symbols[0].Module[0] == '(');
        }
    }
    if (Found && First > 0) {
        memmove(Out->frames, Out->frames + First, (Out->frame_count - First) * sizeof Out->frames[0]);
        Out->frame_count -= First;
        Out->trapped = false;
        if (Out->code == UNEXPECTED_KERNEL_MODE_TRAP)
            Out->instruction[0] = 0; /* it was the machine's, where the stack had no more room */
    }
    if (!Blame && !Out->frame_count)
        return;
    if (Blame) {
        HostSymbolize((ULONG_PTR)Blame, TRUE, Symbols, MAX_INLINE);
    } else {
        for (At = Jumped; At < Out->frame_count; At++) {
            Count = HostSymbolize(Out->frames[At], At == 0 && Out->trapped, Symbols, MAX_INLINE);
            Name = ToBlame(Symbols, Count);
            if (Name < Count)
                break;
        }
        if (At < Out->frame_count) {
            Out->address = Out->frames[At];
        } else if (Stop->Callout && (Count = HostSymbolize((ULONG_PTR)Stop->Callout, TRUE, Symbols, MAX_INLINE)) != 0 &&
                   !Symbols[0].Library && Symbols[0].Module[0] != '?' && Symbols[0].Module[0] != '(') {
            Name = ToBlame(Symbols, Count);
            Name = Name < Count ? Name : 0;
            Out->address = (ULONG_PTR)Stop->Callout;
            Out->off_stack = true;
        } else {
            Name = 0;
            HostSymbolize(Out->frames[0], Out->trapped, Symbols, MAX_INLINE);
            Out->address = Out->frames[0];
        }
    }
    snprintf(Out->driver, sizeof Out->driver, "%.95s", Symbols[Name].Module);
    HostFormatPlace(&Symbols[Name], Out->where, sizeof Out->where);
}

VOID HostDescribeStop(const KI_BUGCHECK *Stop, ntmm_bugcheck *Out)
{
    DescribeBasics(Stop, Out);
    DescribeBlame(Stop, Out);
}

/* ---- the block ---- */

/* What a thread or a kernel stack begins with: nothing further out is worth showing. */
static BOOLEAN IsRoot(const char *Function)
{
    static const char *const Roots[] = {"_start",   "start_thread",     "clone", "clone3", "__clone",
                                        "__clone3", "HalpCallOnNewPage"};
    for (unsigned I = 0; I < ARRAYSIZE(Roots); I++)
        if (!strcmp(Function, Roots[I]))
            return TRUE;
    return !strncmp(Function, "__libc_start", 12);
}

/* Calls back for each frame worth showing: of the library's own only those that drivers and programs call by name, and not
 * what the C library runs before main. */
static VOID EachFrame(const uint64_t *Frames, unsigned Count, BOOLEAN FirstExact,
                      /* Symbol NULL: the frame before, Address times more */
                      VOID (*Show)(PVOID Context, uint64_t Address, const HOST_SYMBOL *Symbol), PVOID Context)
{
    for (unsigned I = 0; I < Count; I++) {
        HOST_SYMBOL Symbols[MAX_INLINE];
        unsigned Same = 0;
        while (I + 1 < Count && I > 0 && Frames[I] == Frames[I - 1] && Frames[I + 1] == Frames[I])
            I++, Same++;
        if (Same) {
            /* a recursion: its frame has been shown twice */
            Show(Context, Same + 1, NULL);
            continue;
        }
        ULONG Number = HostSymbolize(Frames[I], I == 0 && FirstExact, Symbols, MAX_INLINE);
        if (Symbols[0].Library && !LdrFindEntry(Symbols[0].Function) && strncmp(Symbols[0].Function, "ntmm_", 5))
            continue;
        if (IsRoot(Symbols[0].Function))
            break;
        for (ULONG J = 0; J < Number; J++)
            Show(Context, Frames[I], &Symbols[J]);
    }
}

static VOID ShowFrame(PVOID Context, uint64_t Address, const HOST_SYMBOL *Symbol)
{
    char Place[600];
    if (!Symbol) {
        HostPut((HOST_TEXT *)Context, "    ... the same %llu times\n", (unsigned long long)Address);
        return;
    }
    HostFormatPlace(Symbol, Place, sizeof Place);
    HostPut((HOST_TEXT *)Context, "    0x%016llX  %s!%s%s\n", (unsigned long long)Address, Symbol->Module, Place,
            Symbol->Inlined ? " (inlined)" : "");
}

static const char *IrqlName(unsigned Irql)
{
    switch (Irql) {
    case PASSIVE_LEVEL:
        return "PASSIVE_LEVEL";
    case APC_LEVEL:
        return "APC_LEVEL";
    case DISPATCH_LEVEL:
        return "DISPATCH_LEVEL";
    case HIGH_LEVEL:
        return "HIGH_LEVEL";
    default:
        return "device level";
    }
}

static const char *PoolName(POOL_TYPE Type)
{
    switch ((ULONG)Type) {
    case NonPagedPool:
        return "nonpaged pool, executable";
    case NonPagedPoolNx:
        return "nonpaged pool";
    case PagedPool:
        return "paged pool";
    default:
        return (ULONG)Type & 1 ? "paged pool" : "nonpaged pool";
    }
}

static VOID TagText(ULONG Tag, char Text[8])
{
    for (int I = 0; I < 4; I++) {
        char Letter = (char)(Tag >> (8 * I));
        Text[I] = Letter >= 32 && Letter < 127 ? Letter : '.';
    }
    Text[4] = 0;
}

static VOID PutStack(HOST_TEXT *Text, const char *Head, const ULONG_PTR *Stack, ULONG Count)
{
    uint64_t Frames[EXP_MAX_STACK];
    if (!Count)
        return;
    size_t Before;
    for (ULONG I = 0; I < Count; I++)
        Frames[I] = Stack[I];
    HostPut(Text, "  %s\n", Head);
    Before = Text->Used;
    EachFrame(Frames, Count, FALSE, ShowFrame, Text);
    if (Text->Used == Before)
        HostPut(Text, "    (the system)\n");
}

static VOID PutBlock(HOST_TEXT *Text, const VOID *Block)
{
    EXP_BLOCK_INFO Info;
    char Tag[8];
    if (!Block || !ExpDescribeBlock || !ExpDescribeBlock(Block, &Info))
        return;
    if (Info.State == ExpBlockNever) {
        HostPut(Text, "  pool block: none was ever allocated at 0x%016llX\n", (unsigned long long)(ULONG_PTR)Block);
        return;
    }
    TagText(Info.Tag, Tag);
    HostPut(Text, "  pool block: 0x%016llX, %llu byte%s, tag '%s', %s, %s\n", (unsigned long long)Info.Start,
            (unsigned long long)Info.Size, Info.Size == 1 ? "" : "s", Tag, PoolName(Info.PoolType),
            Info.State == ExpBlockLive ? "allocated" : "freed");
    if (Info.Offset) {
        BOOLEAN Behind = Info.Offset > 0 && (SIZE_T)Info.Offset >= Info.Size;
        long long Away = Info.Offset < 0 ? -Info.Offset : Behind ? Info.Offset - (LONG_PTR)Info.Size : Info.Offset;
        HostPut(Text, "              0x%016llX is %lld byte%s %s its %s\n", (unsigned long long)(ULONG_PTR)Block, Away,
                Away == 1 ? "" : "s",
                Behind            ? "behind"
                : Info.Offset < 0 ? "before"
                                  : "after",
                Behind ? "end" : "start");
    }
    PutStack(Text, "allocated by:", Info.AllocStack, Info.AllocFrames);
    PutStack(Text, "freed by:", Info.FreeStack, Info.FreeFrames);
}

static VOID PutPicture(HOST_TEXT *Text, const ntmm_bugcheck *Stop)
{
    if (Stop->picture_count == 0)
        return;
    HostPut(
        Text,
        "  bytes of the block and around it (b block, s slack, f freed, ! overwritten, . not the block's, ? not there%s):\n",
        Stop->link_count ? ", l link of a list, x link that is not led back to" : "");
    for (unsigned Line = 0; Line + 16 <= Stop->picture_count; Line += 16) {
        const uint8_t *Bytes = Stop->picture_bytes + Line, *Marks = Stop->picture_marks + Line;
        unsigned There = Line;
        while (There < Stop->picture_count && Stop->picture_marks[There] == NTMM_MARK_UNREADABLE)
            There++;
        if (There - Line >= 16) { /* whole lines of nothing are one */
            There -= There % 16;
            HostPut(Text, "    0x%016llX  ?? from here on: no memory is there\n",
                    (unsigned long long)Stop->picture_start + Line);
            Line = There - 16;
            continue;
        }
        HostPut(Text, "    0x%016llX ", (unsigned long long)Stop->picture_start + Line);
        for (unsigned I = 0; I < 16; I++) {
            if (Marks[I] == NTMM_MARK_UNREADABLE)
                HostPut(Text, " ??");
            else
                HostPut(Text, " %02x", Bytes[I]);
        }
        HostPut(Text, "  ");
        for (unsigned I = 0; I < 16; I++)
            HostPut(Text, "%c", Bytes[I] >= ' ' && Bytes[I] <= '~' ? Bytes[I] : '.');
        HostPut(Text, "\n                       ");
        for (unsigned I = 0; I < 16; I++)
            HostPut(Text, " %c%c", Marks[I], Marks[I] == NTMM_MARK_DAMAGED ? Marks[I] : ' ');
        while (Text->Used < Text->Size && Text->Bytes[Text->Used - 1] == ' ')
            Text->Used--;
        HostPut(Text, "\n");
    }
}

static VOID PutHolders(HOST_TEXT *Text);

/* ---- locks: bug check 0xC4/0x1000 to 0x100B ---- */
static BOOLEAN IsLockStop(const ntmm_bugcheck *Stop)
{
    return Stop->code == DRIVER_VERIFIER_DETECTED_VIOLATION && Stop->parameters[0] >= 0x1000 && Stop->parameters[0] <= 0x100B;
}

static VOID PutLocks(HOST_TEXT *Text)
{
    VF_LOCK_STEP Steps[VF_LOCK_STEPS];
    ULONG Count = VfReadLockOrder(Steps);
    for (ULONG I = 0; I < Count; I++) {
        char Head[160];
        if (Steps[I].Wanted == 0) {
            snprintf(Head, sizeof Head, "lock 0x%016llX was acquired by thread %u:", (unsigned long long)Steps[I].Held,
                     Steps[I].Thread);
            PutStack(Text, Head, Steps[I].HeldStack, Steps[I].HeldFrames);
            continue;
        }
        HostPut(Text, "  lock order%s: 0x%016llX, then 0x%016llX, by thread %u\n", I == 0 ? "" : " seen before",
                (unsigned long long)Steps[I].Held, (unsigned long long)Steps[I].Wanted, Steps[I].Thread);
        PutStack(Text, "  the first was acquired by:", Steps[I].HeldStack, Steps[I].HeldFrames);
        PutStack(Text, "  while it was held, the second by:", Steps[I].WantedStack, Steps[I].WantedFrames);
    }
}

/* ---- what a driver did not free: bug check 0xC4/0x62 ---- */
static BOOLEAN IsLeakStop(const ntmm_bugcheck *Stop)
{
    return Stop->code == DRIVER_VERIFIER_DETECTED_VIOLATION && Stop->parameters[0] == 0x62;
}

static VOID PutLeak(HOST_TEXT *Text)
{
    VF_LEAK_PLACE Places[VF_LEAK_PLACES];
    ULONG Count = VfReadLeak(Places);
    char Tag[8];
    for (ULONG I = 0; I < Count; I++) {
        TagText(Places[I].Tag, Tag);
        HostPut(Text, "  not freed:  %u block%s, %llu byte%s, tag '%s', %s, %s 0x%016llX\n", Places[I].Blocks,
                Places[I].Blocks == 1 ? "" : "s", (unsigned long long)Places[I].Bytes, Places[I].Bytes == 1 ? "" : "s", Tag,
                PoolName(Places[I].PoolType), Places[I].Blocks == 1 ? "at" : "one at", (unsigned long long)Places[I].First);
        PutStack(Text, "allocated by:", Places[I].Stack, Places[I].Frames);
    }
}

/* ---- the entries of a corrupt list: bug check 0x139 ---- */
static BOOLEAN SameBlock(uint64_t One, uint64_t Other)
{
    EXP_BLOCK_INFO A, B;
    return ExpDescribeBlock && ExpDescribeBlock((const void *)(ULONG_PTR)One, &A) &&
           ExpDescribeBlock((const void *)(ULONG_PTR)Other, &B) && A.Start == B.Start;
}

static VOID PutLink(HOST_TEXT *Text, const ntmm_bugcheck *Stop, unsigned Which)
{
    const ntmm_link *Link = &Stop->links[Which];
    LDR_IMAGE *Image = LdrpFindImage((ULONG_PTR)Link->address);
    EXP_BLOCK_INFO Info;
    char Head[32];
    snprintf(Head, sizeof Head, "%s%s:", strcmp(Link->name, "entry") ? "" : "list ", Link->name);
    HostPut(Text, "  %-11s 0x%016llX", Head, (unsigned long long)Link->address);
    if (Link->list)
        HostPut(Text, ", Flink 0x%016llX%s, Blink 0x%016llX%s", (unsigned long long)Link->flink,
                Link->forward ? "" : " (not led back)", (unsigned long long)Link->blink, Link->back ? "" : " (not led back)");
    if (Image)
        HostPut(Text, ", in %s+0x%llX\n", Image->Name, (unsigned long long)(Link->address - (ULONG_PTR)Image->Base));
    else
        HostPut(Text, "%s\n",
                ExpDescribeBlock && ExpDescribeBlock((const void *)(ULONG_PTR)Link->address, &Info) ? "" : ", not in pool");
    for (unsigned I = 0; I < Which; I++)
        if (SameBlock(Stop->links[I].address, Link->address))
            return;
    PutBlock(Text, (const void *)(ULONG_PTR)Link->address);
}

static VOID PutLinks(HOST_TEXT *Text, const ntmm_bugcheck *Stop)
{
    for (unsigned I = 0; I < Stop->link_count; I++)
        PutLink(Text, Stop, I);
}

static VOID PutRest(HOST_TEXT *Text, const ntmm_bugcheck *Stop)
{
    const char *Why, *Cure;
    size_t Before;
    HostPut(Text, "\n  driver:     %s\n  function:   %s%s\n", Stop->driver[0] ? Stop->driver : "?",
            Stop->where[0] ? Stop->where : "?",
            Stop->off_stack ? ", no longer on the stack: the last routine of a driver that this thread called" : "");
    if (Stop->instruction[0])
        HostPut(Text, "  instruction: %s\n", Stop->instruction);
    HostPut(Text, "  IRQL:       %u (%s), processor %u, thread %u\n  stack:\n", Stop->irql, IrqlName(Stop->irql),
            Stop->processor, Stop->thread);
    Before = Text->Used;
    EachFrame(Stop->frames, Stop->frame_count, Stop->trapped, ShowFrame, Text);
    if (Text->Used == Before)
        HostPut(Text, "    (the system's own: no code of a driver is on it)\n");
    if (IsLeakStop(Stop))
        PutLeak(Text);
    else if (Stop->link_count)
        PutLinks(Text, Stop);
    else
        PutBlock(Text, Stop->block);
    if (Stop->suspect) {
        HostPut(Text, "  or an overrun of the block before it, which has no slack:\n");
        PutBlock(Text, Stop->suspect);
    }
    PutPicture(Text, Stop);
    if (HostAdvise(Stop->code, Stop->parameters, 4, &Why, &Cure)) {
        HostPutWrapped(Text, "  usually:   ", Why, 13, 100);
        HostPutWrapped(Text, "  cure:      ", Cure, 13, 100);
    }
    if (Stop->code == NO_MORE_SYSTEM_PTES || Stop->code == DRIVER_USED_EXCESSIVE_PTES)
        PutHolders(Text);
    if (IsLockStop(Stop))
        PutLocks(Text);
    HostPut(Text, "\n");
}

/* ---- JSON ---- */

static VOID JsonFrame(PVOID Context, uint64_t Address, const HOST_SYMBOL *Symbol)
{
    char Hex[24];
    json_t *Frame = json_object();
    if (!Symbol) {
        json_object_set_new(Frame, "repeated", json_integer((json_int_t)Address));
        json_array_append_new((json_t *)Context, Frame);
        return;
    }
    snprintf(Hex, sizeof Hex, "0x%016llX", (unsigned long long)Address);
    json_object_set_new(Frame, "address", json_string(Hex));
    json_object_set_new(Frame, "module", json_string(Symbol->Module));
    if (Symbol->Function[0])
        json_object_set_new(Frame, "function", json_string(Symbol->Function));
    json_object_set_new(Frame, "offset", json_integer((json_int_t)Symbol->Offset));
    if (Symbol->File[0]) {
        json_object_set_new(Frame, "file", json_string(Symbol->File));
        json_object_set_new(Frame, "line", json_integer(Symbol->Line));
    }
    if (Symbol->Inlined)
        json_object_set_new(Frame, "inlined", json_true());
    json_array_append_new((json_t *)Context, Frame);
}

static json_t *JsonStack(const ULONG_PTR *Stack, ULONG Count)
{
    uint64_t Frames[EXP_MAX_STACK];
    json_t *List = json_array();
    for (ULONG I = 0; I < Count; I++)
        Frames[I] = Stack[I];
    EachFrame(Frames, Count, FALSE, JsonFrame, List);
    return List;
}

/* ---- who holds system PTEs: bug checks 0x3F and 0xD8 ---- */
#define MAX_HOLDERS 16

typedef struct _HOLDER {
    ULONG_PTR Caller; /* the driver's code that mapped */
    ULONG64 Pages;
    unsigned Mappings;
} HOLDER;

/* The largest holders first. A holder is the innermost driver code of the stacks that made the mappings. */
static unsigned FindHolders(HOLDER Holders[MAX_HOLDERS])
{
    MM_MAPPING_INFO Info;
    unsigned Count = 0;
    for (ULONG Cursor = 0; MmQueryMappings(&Cursor, &Info);) {
        ULONG_PTR Caller = Info.CallerCount ? Info.Callers[Info.CallerCount - 1] : 0;
        unsigned I = 0;
        for (ULONG J = Info.CallerCount; J-- > 0;)
            Caller = HostIsDriverCode(Info.Callers[J]) ? Info.Callers[J] : Caller;
        while (I < Count && Holders[I].Caller != Caller)
            I++;
        if (I == Count && Count < MAX_HOLDERS)
            Holders[Count++] = (HOLDER){Caller, 0, 0};
        if (I < Count) {
            Holders[I].Pages += Info.Pages;
            Holders[I].Mappings++;
        }
    }
    for (unsigned I = 0; I < Count; I++)
        for (unsigned J = I + 1; J < Count; J++)
            if (Holders[J].Pages > Holders[I].Pages) {
                HOLDER Swap = Holders[I];
                Holders[I] = Holders[J];
                Holders[J] = Swap;
            }
    return Count;
}

static VOID PutHolders(HOST_TEXT *Text)
{
    HOLDER Holders[MAX_HOLDERS];
    unsigned Count = FindHolders(Holders);
    if (Count)
        HostPut(Text, "  system PTEs are held by:\n");
    for (unsigned I = 0; I < Count; I++) {
        HOST_SYMBOL Symbol;
        char Place[600];
        HostSymbolize(Holders[I].Caller, FALSE, &Symbol, 1);
        HostFormatPlace(&Symbol, Place, sizeof Place);
        HostPut(Text, "    %8llu page%s in %u mapping%s  %s!%s\n", (unsigned long long)Holders[I].Pages,
                Holders[I].Pages == 1 ? "" : "s", Holders[I].Mappings, Holders[I].Mappings == 1 ? "" : "s", Symbol.Module,
                Place);
    }
}

static json_t *JsonHolders(void)
{
    HOLDER Holders[MAX_HOLDERS];
    unsigned Count = FindHolders(Holders);
    json_t *List = json_array();
    for (unsigned I = 0; I < Count; I++) {
        HOST_SYMBOL Symbol;
        char Place[600];
        HostSymbolize(Holders[I].Caller, FALSE, &Symbol, 1);
        HostFormatPlace(&Symbol, Place, sizeof Place);
        json_array_append_new(List, json_pack("{s:I, s:i, s:s, s:s}", "pages", (json_int_t)Holders[I].Pages, "mappings",
                                              (int)Holders[I].Mappings, "module", Symbol.Module, "place", Place));
    }
    return List;
}

static json_t *JsonLocks(void)
{
    VF_LOCK_STEP Steps[VF_LOCK_STEPS];
    ULONG Count = VfReadLockOrder(Steps);
    json_t *List = json_array();
    for (ULONG I = 0; I < Count; I++) {
        char Held[24], Wanted[24];
        snprintf(Held, sizeof Held, "0x%llX", (unsigned long long)Steps[I].Held);
        snprintf(Wanted, sizeof Wanted, "0x%llX", (unsigned long long)Steps[I].Wanted);
        json_t *Step = json_pack("{s:s, s:i, s:o}", "held", Held, "thread", (int)Steps[I].Thread, "held_by",
                                 JsonStack(Steps[I].HeldStack, Steps[I].HeldFrames));
        if (Steps[I].Wanted != 0) {
            json_object_set_new(Step, "acquired", json_string(Wanted));
            json_object_set_new(Step, "acquired_by", JsonStack(Steps[I].WantedStack, Steps[I].WantedFrames));
        }
        json_array_append_new(List, Step);
    }
    return List;
}

static json_t *JsonLeak(void)
{
    VF_LEAK_PLACE Places[VF_LEAK_PLACES];
    ULONG Count = VfReadLeak(Places);
    json_t *List = json_array();
    for (ULONG I = 0; I < Count; I++) {
        char First[24], Tag[8];
        TagText(Places[I].Tag, Tag);
        snprintf(First, sizeof First, "0x%llX", (unsigned long long)Places[I].First);
        json_array_append_new(List, json_pack("{s:i, s:I, s:s, s:s, s:s, s:o}", "blocks", (int)Places[I].Blocks, "bytes",
                                              (json_int_t)Places[I].Bytes, "tag", Tag, "pool", PoolName(Places[I].PoolType),
                                              "first", First, "allocated_by", JsonStack(Places[I].Stack, Places[I].Frames)));
    }
    return List;
}

/* NULL: no block is known there. */
static json_t *JsonBlock(const VOID *At)
{
    char Hex[24], Tag[8];
    EXP_BLOCK_INFO Info;
    json_t *Block;
    if (!At || !ExpDescribeBlock || !ExpDescribeBlock(At, &Info))
        return NULL;
    Block = json_object();
    snprintf(Hex, sizeof Hex, "0x%016llX", (unsigned long long)Info.Start);
    json_object_set_new(Block, "address", json_string(Hex));
    json_object_set_new(Block, "state",
                        json_string(Info.State == ExpBlockLive    ? "allocated"
                                    : Info.State == ExpBlockFreed ? "freed"
                                                                  : "never"));
    if (Info.State != ExpBlockNever) {
        TagText(Info.Tag, Tag);
        json_object_set_new(Block, "size", json_integer((json_int_t)Info.Size));
        json_object_set_new(Block, "tag", json_string(Tag));
        json_object_set_new(Block, "pool", json_string(PoolName(Info.PoolType)));
        json_object_set_new(Block, "allocated_by", JsonStack(Info.AllocStack, Info.AllocFrames));
        json_object_set_new(Block, "freed_by", JsonStack(Info.FreeStack, Info.FreeFrames));
    }
    return Block;
}

static json_t *JsonLinks(const ntmm_bugcheck *Stop)
{
    json_t *List = json_array();
    for (unsigned I = 0; I < Stop->link_count; I++) {
        const ntmm_link *Link = &Stop->links[I];
        json_t *Entry = json_object(), *Block = JsonBlock((const VOID *)(ULONG_PTR)Link->address);
        char Hex[24];
        json_object_set_new(Entry, "name", json_string(Link->name));
        snprintf(Hex, sizeof Hex, "0x%016llX", (unsigned long long)Link->address);
        json_object_set_new(Entry, "address", json_string(Hex));
        if (Link->list) {
            snprintf(Hex, sizeof Hex, "0x%016llX", (unsigned long long)Link->flink);
            json_object_set_new(Entry, "flink", json_string(Hex));
            snprintf(Hex, sizeof Hex, "0x%016llX", (unsigned long long)Link->blink);
            json_object_set_new(Entry, "blink", json_string(Hex));
            json_object_set_new(Entry, "flink_leads_back", json_boolean(Link->forward));
            json_object_set_new(Entry, "blink_leads_back", json_boolean(Link->back));
        }
        if (Block)
            json_object_set_new(Entry, "block", Block);
        json_array_append_new(List, Entry);
    }
    return List;
}

json_t *HostStopJson(const ntmm_bugcheck *Stop)
{
    char Hex[24];
    const char *Why, *Cure;
    json_t *Block, *Root = json_object(), *List = json_array(), *Frames = json_array();

    snprintf(Hex, sizeof Hex, "0x%08X", Stop->code);
    json_object_set_new(Root, "code", json_string(Hex));
    json_object_set_new(Root, "name", json_string(Stop->name));
    for (int I = 0; I < 4; I++) {
        snprintf(Hex, sizeof Hex, "0x%016llX", (unsigned long long)Stop->parameters[I]);
        json_array_append_new(List, json_string(Hex));
    }
    json_object_set_new(Root, "parameters", List);
    json_object_set_new(Root, "words", json_string(Stop->words));
    json_object_set_new(Root, "driver", json_string(Stop->driver));
    json_object_set_new(Root, "function", json_string(Stop->where));
    if (Stop->off_stack)
        json_object_set_new(Root, "off_stack", json_true());
    json_object_set_new(Root, "irql", json_integer(Stop->irql));
    json_object_set_new(Root, "processor", json_integer(Stop->processor));
    json_object_set_new(Root, "thread", json_integer(Stop->thread));
    EachFrame(Stop->frames, Stop->frame_count, Stop->trapped, JsonFrame, Frames);
    json_object_set_new(Root, "stack", Frames);
    if (Stop->instruction[0])
        json_object_set_new(Root, "instruction", json_string(Stop->instruction));
    if (HostAdvise(Stop->code, Stop->parameters, 4, &Why, &Cure)) {
        json_object_set_new(Root, "usually", json_string(Why));
        json_object_set_new(Root, "cure", json_string(Cure));
    }
    if (Stop->picture_count) {
        char Bytes[NTMM_PICTURE * 2 + 1], Marks[NTMM_PICTURE + 1];
        for (unsigned I = 0; I < Stop->picture_count; I++)
            snprintf(Bytes + 2 * I, 3, "%02x", Stop->picture_bytes[I]);
        memcpy(Marks, Stop->picture_marks, Stop->picture_count);
        Marks[Stop->picture_count] = 0;
        snprintf(Hex, sizeof Hex, "0x%016llX", (unsigned long long)Stop->picture_start);
        json_object_set_new(Root, "picture", json_pack("{s:s, s:s, s:s}", "start", Hex, "bytes", Bytes, "marks", Marks));
    }
    Block = JsonBlock(Stop->block);
    if (Block)
        json_object_set_new(Root, "block", Block);
    Block = JsonBlock(Stop->suspect);
    if (Block)
        json_object_set_new(Root, "suspect", Block);
    if (Stop->link_count)
        json_object_set_new(Root, "links", JsonLinks(Stop));
    if (Stop->code == NO_MORE_SYSTEM_PTES || Stop->code == DRIVER_USED_EXCESSIVE_PTES)
        json_object_set_new(Root, "holders", JsonHolders());
    if (IsLockStop(Stop))
        json_object_set_new(Root, "locks", JsonLocks());
    if (IsLeakStop(Stop))
        json_object_set_new(Root, "not_freed", JsonLeak());
    return Root;
}

size_t ntmm_report(const ntmm_bugcheck *stop, bool json, char *text, size_t size)
{
    HOST_TEXT Text = {text, size, 0};
    HOST_UNWATCHED;
    if (json) {
        json_t *Outer = json_pack("{s:o}", "stop", HostStopJson(stop));
        char *Line = json_dumps(Outer, JSON_COMPACT | JSON_PRESERVE_ORDER);
        HostPut(&Text, "%s\n", Line ? Line : "{}");
        free(Line);
        json_decref(Outer);
    } else {
        PutHead(&Text, stop);
        PutRest(&Text, stop);
    }
    return Text.Used;
}

/* ---- the fatal one ---- */

static ntmm_bugcheck Fatal;
static char FatalText[256 * 1024];
static const KI_BUGCHECK *FatalStop;

__asm__(".text\n"
        ".type HostCallOnStack, @function\n"
        "HostCallOnStack:\n"
        ".cfi_startproc\n"
        "pushq %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset %rbp, -16\n"
        "movq %rsp, %rbp\n"
        ".cfi_def_cfa_register %rbp\n"
        "movq %rdi, %rsp\n"
        "movq %rdx, %rdi\n"
        "call *%rsi\n"
        "leave\n"
        ".cfi_def_cfa %rsp, 8\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size HostCallOnStack, . - HostCallOnStack\n");
extern VOID HostCallOnStack(PVOID Top, VOID (*Routine)(PVOID Context), PVOID Context);

BOOLEAN HostCallOnOwnStack(VOID (*Routine)(PVOID Context), PVOID Context)
{
    PVOID Stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (Stack == MAP_FAILED)
        return FALSE;
    HostCallOnStack((char *)Stack + STACK_BYTES, Routine, Context);
    munmap(Stack, STACK_BYTES);
    return TRUE;
}

static VOID WatchdogBarks(int Signal)
{
    static const char Words[] = "\n  (the report hangs: the stopped thread holds a lock it needs)\n";
    (void)Signal;
    HalPrint(Words, sizeof Words - 1);
    HalHalt();
}

static VOID Print(const HOST_TEXT *Text)
{
    HalPrint(Text->Bytes, Text->Used < Text->Size ? Text->Used : Text->Size - 1);
}

/* ---- the system's end ---- */
static VOID TellLeft(const CHAR *Name, ULONG64 Blocks, ULONG64 Bytes)
{
    static char Room[32768];
    HOST_TEXT Text = {Room, sizeof Room, 0};
    HostPut(&Text, "\n%s has not freed %llu block%s of pool (%llu bytes) when the system stops:\n", Name,
            (unsigned long long)Blocks, Blocks == 1 ? "" : "s", (unsigned long long)Bytes);
    PutLeak(&Text);
    Print(&Text);
}

VOID HostReportLeft(VOID)
{
    VfReportLeft(TellLeft);
}

VOID (*HostStopRoutine)(const ntmm_bugcheck *Stop, const char *Json);

static VOID WriteReport(PVOID Context)
{
    const ntmm_options *Options = ntmm_running_options();
    struct sigaction Action = {.sa_handler = WatchdogBarks};
    HOST_TEXT Text = {FatalText, sizeof FatalText, 0};
    BOOLEAN Json = Options && Options->json;
    sigset_t Alarm;

    UNREFERENCED_PARAMETER(Context);
    DescribeBasics(FatalStop, &Fatal);
    sigaction(SIGALRM, &Action, NULL);
    sigemptyset(&Alarm);
    sigaddset(&Alarm, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &Alarm, NULL);
    alarm(WATCHDOG_SECONDS);
    fflush(stdout); /* what the program printed comes first */
    if (!Json) {
        PutHead(&Text, &Fatal);
        Print(&Text);
        Text.Used = 0;
    }
    DescribeBlame(FatalStop, &Fatal);
    if (Json)
        Text.Used = ntmm_report(&Fatal, true, FatalText, sizeof FatalText);
    else
        PutRest(&Text, &Fatal);
    Print(&Text);
    if (HostStopRoutine) {
        if (!Json)
            ntmm_report(&Fatal, true, FatalText, sizeof FatalText);
        HostStopRoutine(&Fatal, FatalText);
    }
}

VOID HostReport(const KI_BUGCHECK *Stop)
{
    FatalStop = Stop;
    if (HostCallOnOwnStack(WriteReport, NULL))
        return;
    HOST_TEXT Text = {FatalText, sizeof FatalText, 0};
    DescribeBasics(Stop, &Fatal);
    PutHead(&Text, &Fatal);
    Print(&Text);
}
