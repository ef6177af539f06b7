/*
 * exp.h - the pools' private structures. SPDX-License-Identifier: MIT
 *
 * Memory comes from the memory manager in runs of pages. A run is either a slab, cut into blocks of one size
 * class, or one big block of more than a page. Everything known about a run is kept away from it, in resident
 * memory of the region MmRegionSystemData, so that nothing a driver writes around its blocks reaches it:
 *
 *   address --(page map of its pool region)--> EXP_RUN --+--> EXP_SLAB   bitmaps, block words, stack ids
 *                                                        +--> EXP_BIG    one block
 *
 * A block of a page or less never crosses a page: every page of a slab holds PerPage blocks, then perhaps a
 * tail.
 *
 *   page:  | block | block | ... | block |   tail block   |      TailOffset = PAGE_SIZE where there is none
 *           ^Offset                       ^TailOffset
 *
 * The tails of a slab's pages, where they are worth having, form a second slab of their own class over the
 * same pages (Tail); the two are owned, abandoned and released together. A size between a half and a whole
 * page would waste up to half of each page otherwise.
 *
 * Block word (EXP_WORD), one per block: what free must know, and whether it is live.
 *     31      24 23        14 13         0
 *    |  flags   |   slack    |  tag slot  |     requested bytes = BlockSize - slack; 0: never handed out
 *
 * Threads. Each thread has an EXP_CACHE: a magazine of free blocks for each class, which nearly every
 * allocation and free goes through, whoever's block it is; and slabs that it owns, from which magazines are
 * filled and into which they are emptied, half at a time, with plain loads and stores. A block of another
 * thread's slab goes back by a bit in that slab's Remote words, and the slab is announced once on its owner's
 * queue; the owner collects when it runs short. At thread end slabs are abandoned, to be adopted by the next
 * thread that wants the class or frees into them.
 *
 * Records (EXP_SLAB, EXP_BIG, EXP_CACHE) are recycled only as records of the same shape, never returned: a
 * late reader always finds a record, perhaps of another life, whose state tells.
 *
 * Locks (KI_LOCK), in order of acquisition: AbandonLock -> GhostLock -> MapLock -> MetaLock; TagLock,
 * StackLock and QuotaLock are leaves. None is held across a call of the memory manager other than for
 * metadata, or while a block is touched.
 */
#pragma once
#include "ex/ex.h"

#define EXP_CLASSES       45
#define EXP_MAX_SMALL     4096u
#define EXP_MAX_BLOCKS    1024u /* of a slab */
#define EXP_TAG_SLOTS     16384u
#define EXP_SLOT_OVERFLOW 1u    /* slots 1 and 2: tags beyond the table, nonpaged and paged */
#define EXP_COUNTERS      64u   /* per chunk */
#define EXP_TAG_CACHE     128u  /* of each pool */
#define EXP_FOLD_BYTES    16384 /* a thread's unreported change of a tag's bytes */
#define EXP_GHOSTS        128u
#define EXP_TAG_NONE      0x656e6f4eu /* 'None' as it reads in memory: untagged */
#define EXP_TAG_OVERFLOW  0x6c66764fu /* 'Ovfl' */
#define EXP_PROTECTED     0x80000000u

typedef enum _EXP_KIND { ExpNonPagedNx, ExpNonPagedExecute, ExpPaged, EXP_KINDS } EXP_KIND;
#define EXP_IS_PAGED(Kind) ((ULONG)(Kind) >> 1)
C_ASSERT(EXP_IS_PAGED(ExpNonPagedExecute) == 0 && EXP_IS_PAGED(ExpPaged) == 1);
/* The highest IRQL a kind may be used at: paged pool one below. */
#define EXP_IRQL_TOO_HIGH(Irql, Kind) ((ULONG)(Irql) + EXP_IS_PAGED(Kind) > DISPATCH_LEVEL)

/* ---- runs ---- */
typedef enum _EXP_RUN_TYPE { ExpRunSlab = 1, ExpRunBig } EXP_RUN_TYPE;

typedef struct _EXP_RUN {
    ULONG_PTR Base;
    ULONG Pages;
    UCHAR Type;
    UCHAR Kind;
    UCHAR Class;
    volatile UCHAR Released; /* the pages are back with the memory manager; the record lingers for reports */
} EXP_RUN;

typedef ULONG EXP_WORD;
#define EXP_WORD_SLOT(W)   ((W)&0x3FFFu)
#define EXP_WORD_SLACK(W)  (((W) >> 14) & 0x3FFu)
#define EXP_WORD_LIVE      0x01000000u
#define EXP_WORD_QUOTA     0x02000000u
#define EXP_WORD_PROTECTED 0x04000000u
#define EXP_WORD_USED      0x08000000u /* distinguishes a freed block from one never handed out */
#define EXP_WORD_SPECIAL   (EXP_WORD_QUOTA | EXP_WORD_PROTECTED)
static inline EXP_WORD ExpMakeWord(ULONG Slot, ULONG Slack, ULONG Flags)
{
    return Slot | (Slack << 14) | Flags | EXP_WORD_LIVE | EXP_WORD_USED;
}

typedef enum _EXP_SLAB_STATE {
    ExpSlabCurrent = 1, /* its bin allocates from it */
    ExpSlabPartial,     /* on its bin's list: may have free blocks */
    ExpSlabFull,        /* on no list; a free moves it to the list */
    ExpSlabSpare,       /* empty, on its bin's spare list */
    ExpSlabAbandoned,   /* on the abandoned list: no owner */
    ExpSlabReleased,
} EXP_SLAB_STATE;

typedef struct _EXP_SLAB {
    /* what a free reads */
    EXP_RUN Run;              /* Run.Type first: shared with EXP_BIG */
    struct _EXP_CACHE *Owner; /* atomic; NULL: abandoned or released */
    EXP_WORD *Words;          /* [BlockCount] */
    struct _EXP_SLAB *Tail;   /* main: its tail slab; tail: its main; NULL: none */
    USHORT BlockSize, PerPage;
    USHORT Offset, TailOffset;
    ULONG Reciprocal; /* 65536 / (BlockSize / 16) + 1 */
    USHORT Used;      /* owner: blocks not free as far as the owner knows */
    UCHAR State;
    BOOLEAN IsTail;
    USHORT BlockCount, WordCount;
    ULONG PageReciprocal; /* (1 << 20) / PerPage + 1 */
    /* the rest */
    struct _EXP_SLAB *Next, *Prev;       /* bin's partial list, or the abandoned list */
    struct _EXP_SLAB *AllNext, *AllPrev; /* all slabs of the owner */
    struct _EXP_SLAB *RemoteNext;        /* owner's remote queue; never reset */
    volatile ULONG RemoteQueued;
    ULONG Room;      /* bytes of this record */
    PULONG Stacks;   /* [2 * BlockCount]: allocation and free, or NULL */
    ULONG64 *Remote; /* atomic bits: freed by others, not yet collected. On cache lines of its own. */
    ULONG64 Free[];  /* owner: free blocks */
} EXP_SLAB;
C_ASSERT(offsetof(EXP_SLAB, Next) == 64);

typedef struct _EXP_BIG {
    EXP_RUN Run;
    volatile EXP_WORD Word; /* slack unused */
    ULONG Stacks[2];
    SIZE_T Size;
    struct _EXP_BIG *Next; /* free records */
} EXP_BIG;

/* ---- per thread ---- */
/* A free block in a thread's hands, with its block word. */
typedef struct _EXP_ENTRY {
    ULONG_PTR Block;
    EXP_WORD *Word;
} EXP_ENTRY;

typedef struct _EXP_BIN {
    EXP_ENTRY *Top;          /* one past the last entry; Base: none */
    EXP_ENTRY *Base, *Limit; /* the magazine; all three NULL until the bin is first used */
    EXP_SLAB *Slab;          /* current: refills come from it */
    EXP_SLAB *Partial;
    EXP_SLAB *Spare; /* empty slabs */
    ULONG Slabs;     /* owned, of this class */
    USHORT Room;     /* entries of a magazine */
    USHORT BlockSize;
} EXP_BIN;
C_ASSERT(sizeof(EXP_BIN) == 56);

typedef struct _EXP_COUNTER {
    LONG64 Delta;          /* bytes since the last fold */
    LONG64 MaxDelta;       /* highest Delta since the last fold */
    ULONG64 Allocs, Frees; /* since the last fold */
    ULONG Slot;
    ULONG InUse;
    ULONG Tag;
    ULONG Reserved[5];
} EXP_COUNTER;
C_ASSERT(sizeof(EXP_COUNTER) == 64);

typedef struct _EXP_CACHE {
    struct _EXP_SLAB *volatile RemoteHead; /* MPSC stack; EXP_CLOSED when no thread owns the cache */
    UCHAR Pad[56];
    struct _EXP_CACHE *NextCache; /* all caches ever made */
    struct _EXP_CACHE *NextFree;
    KTHREAD *Thread;
    EXP_SLAB *All;
    ULONG SparePages;
    ULONG SlabCount;
    EXP_COUNTER Total[2]; /* nonpaged, paged: every tag together. Allocs and Frees unused */
    struct {
        ULONG Tag;
        EXP_COUNTER *Counter;
    } Tags[2][EXP_TAG_CACHE];
    EXP_BIN Bins[EXP_KINDS][EXP_CLASSES];
    EXP_COUNTER *Chunks[EXP_TAG_SLOTS / EXP_COUNTERS];
} EXP_CACHE;
#define EXP_CLOSED ((EXP_SLAB *)1)

/* ---- tags ---- */
typedef struct _EXP_TAG {
    ULONG Tag;
    USHORT Next; /* slot: hash chain */
    BOOLEAN Paged;
    ULONG Threads; /* that have counted here */
    volatile LONG64 Bytes;
    volatile LONG64 Peak;
    volatile ULONG64 Allocs, Frees;
    ULONG64 Reserved[2];
} EXP_TAG;
C_ASSERT(sizeof(EXP_TAG) == 64);

/* ---- page map ---- */
typedef struct _EXP_MAP {
    ULONG_PTR Base;
    SIZE_T Covered;    /* bytes of the region whose entries are backed; grows */
    EXP_RUN **Entries; /* one per page, atomic */
    SIZE_T Size;       /* bytes of the region */
} EXP_MAP;

/* ---- classes ---- */
typedef struct _EXP_CLASS {
    USHORT Size, PerPage;
    USHORT TailOffset; /* PAGE_SIZE: no tail */
    UCHAR TailClass;
    UCHAR Pages;    /* of a full-sized slab */
    UCHAR Magazine; /* entries a thread holds at most */
    ULONG Reciprocal, PageReciprocal;
} EXP_CLASS;

/* ---- everything ---- */
typedef struct _EXP_STATE {
    EXP_MAP Maps[2]; /* nonpaged, paged */
    EXP_CLASS Classes[EXP_CLASSES];
    UCHAR ClassOf[EXP_MAX_SMALL / 16 + 1];        /* (size + 15) / 16 */
    UCHAR AlignedClassOf[EXP_MAX_SMALL / 16 + 1]; /* the same for cache-aligned blocks */
    BOOLEAN Started;
    ULONG StackDepth;
    ULONG SparePages; /* of empty slabs, a thread keeps at most */
    ULONG Tracking;   /* pool tracking: 0xC2/0x9B-0x9D and 0xC7 are made */
    KI_LOCK MapLock, MetaLock, AbandonLock, GhostLock, TagLock, StackLock, QuotaLock, CacheLock;
    EXP_SLAB *Abandoned[EXP_KINDS][EXP_CLASSES];
    volatile LONG AbandonedCount[EXP_KINDS][EXP_CLASSES];
    EXP_CACHE *Caches, *FreeCaches;
    EXP_RUN *Ghosts[EXP_GHOSTS];
    ULONG GhostNext;
    EXP_BIG *FreeBigs;
    EXP_TAG *TagChunks[EXP_TAG_SLOTS / EXP_COUNTERS];
    USHORT TagHash[1024];
    volatile ULONG TagCount; /* slots in use; slot 0 is none */
    EXP_TAG Totals[2];
    volatile ULONG64 SlabPages[2], RunPages[2];
} EXP_STATE;
extern EXP_STATE ExpState;

/* meta.c: resident memory for records; page maps. */
typedef enum _EXP_META { ExpMetaSlab, ExpMetaOther, EXP_METAS } EXP_META;
/* 64-byte aligned, or NULL. Zero when fresh, else as it was freed, but for its first 8 bytes. */
PVOID ExpMetaAllocate(EXP_META Use, SIZE_T Bytes);
VOID ExpMetaFree(EXP_META Use, PVOID Record, SIZE_T Bytes); /* used again for the same use and size only */
NTSTATUS ExpInitMeta(VOID);
BOOLEAN ExpMapRun(EXP_RUN *Run);  /* enters a run into its page map; FALSE: no memory for the map */
VOID ExpReleaseRun(EXP_RUN *Run); /* gives the pages back; the record lingers as a ghost */
static inline EXP_RUN *ExpLookupIn(const EXP_MAP *Map, ULONG_PTR Offset)
{
    return __atomic_load_n(&Map->Entries[Offset >> 12], __ATOMIC_ACQUIRE);
}
/* The run at an address of either pool region, or NULL. */
static inline EXP_RUN *ExpLookupRun(ULONG_PTR Address)
{
    const EXP_MAP *Map = &ExpState.Maps[0];
    ULONG_PTR Offset = Address - Map->Base;
    if (__builtin_expect(Offset < __atomic_load_n(&Map->Covered, __ATOMIC_ACQUIRE), 1))
        return ExpLookupIn(Map, Offset);
    Map++;
    Offset = Address - Map->Base;
    return Offset < __atomic_load_n(&Map->Covered, __ATOMIC_ACQUIRE) ? ExpLookupIn(Map, Offset) : NULL;
}

/* slab.c */
VOID ExpInitClasses(VOID);
EXP_SLAB *ExpCreateSlab(EXP_CACHE *Cache, EXP_KIND Kind, ULONG Class, EX_POOL_PRIORITY Priority);
VOID ExpFreeSlab(EXP_SLAB *Slab);    /* a main slab on no list, it and its tail empty */
VOID ExpRecycleRecord(EXP_RUN *Run); /* a ghost is forgotten: its record may be used again */
/* Number of the block that starts at Address, or a number of BlockCount and more: none does. */
static inline ULONG ExpBlockNumber(const EXP_SLAB *Slab, ULONG_PTR Address)
{
    ULONG Rest = (ULONG)(Address & (PAGE_SIZE - 1)) - Slab->Offset;
    ULONG InPage = ((Rest >> 4) * Slab->Reciprocal) >> 16;
    if (__builtin_expect(InPage * Slab->BlockSize != Rest || InPage >= Slab->PerPage, 0))
        return MAXULONG;
    return (ULONG)((Address - Slab->Run.Base) >> 12) * Slab->PerPage + InPage;
}
static inline ULONG_PTR ExpBlockAddress(const EXP_SLAB *Slab, ULONG Number)
{
    ULONG Page = (Number * Slab->PageReciprocal) >> 20;
    return Slab->Run.Base + ((ULONG_PTR)Page << 12) + Slab->Offset + (Number - Page * Slab->PerPage) * Slab->BlockSize;
}
/* Of the two slabs that share the page, the one that an address belongs to. */
static inline EXP_SLAB *ExpSlabAt(EXP_RUN *Run, ULONG_PTR Address)
{
    EXP_SLAB *Slab = (EXP_SLAB *)Run;
    return (Address & (PAGE_SIZE - 1)) >= Slab->TailOffset ? Slab->Tail : Slab;
}
static inline EXP_WORD ExpReadWord(const volatile EXP_WORD *Word)
{
    return __atomic_load_n(Word, __ATOMIC_RELAXED);
}
static inline VOID ExpWriteWord(volatile EXP_WORD *Word, EXP_WORD Value)
{
    __atomic_store_n(Word, Value, __ATOMIC_RELAXED);
}

/* cache.c */
EXP_CACHE *ExpGetCache(KTHREAD *Thread); /* makes one; NULL: no memory */
/* Puts free blocks into the bin's empty magazine. FALSE: no memory. */
BOOLEAN ExpRefill(EXP_CACHE *Cache, EXP_KIND Kind, ULONG Class, EX_POOL_PRIORITY Priority);
/* A freed block that finds the magazine full, or no cache at all (NULL). */
VOID ExpFreeSlow(EXP_CACHE *Cache, EXP_BIN *Bin, ULONG_PTR Block, EXP_WORD *Word);
VOID ExpTrimCache(EXP_CACHE *Cache); /* gives up what is empty */

/* bigpool.c */
PVOID ExpAllocateBig(EXP_CACHE *Cache, EXP_KIND Kind, SIZE_T Size, ULONG Slot, ULONG WordFlags, BOOLEAN Zero,
                     EX_POOL_PRIORITY Priority);
VOID ExpFreeBig(EXP_BIG *Big);

/* tag.c */
EXP_COUNTER *ExpFindCounterSlow(EXP_CACHE *Cache, ULONG Tag, BOOLEAN Paged);
EXP_COUNTER *ExpCounterOfSlotSlow(EXP_CACHE *Cache, ULONG Slot);
extern EXP_COUNTER ExpNoCounters[EXP_COUNTERS]; /* stands for a chunk that is not there: none in use */
ULONG ExpFindSlot(ULONG Tag, BOOLEAN Paged);    /* never 0 */
EXP_TAG *ExpTagOfSlot(ULONG Slot);
VOID ExpFold(EXP_COUNTER *Counter, EXP_TAG *Tag);
VOID ExpFoldCache(EXP_CACHE *Cache);
VOID ExpCountShared(ULONG Slot, LONG64 Bytes, BOOLEAN Alloc); /* without a cache */
static inline ULONG ExpTagCacheIndex(ULONG Tag)
{
    return (Tag * 0x9E3779B1u) >> 25;
}
static inline EXP_COUNTER *ExpFindCounter(EXP_CACHE *Cache, ULONG Tag, ULONG Paged)
{
    ULONG Index = ExpTagCacheIndex(Tag);
    if (__builtin_expect(Cache->Tags[Paged][Index].Tag == Tag, 1))
        return Cache->Tags[Paged][Index].Counter;
    return ExpFindCounterSlow(Cache, Tag, (BOOLEAN)Paged);
}
static inline EXP_COUNTER *ExpCounterOfSlot(EXP_CACHE *Cache, ULONG Slot)
{
    EXP_COUNTER *Counter = &Cache->Chunks[Slot / EXP_COUNTERS][Slot % EXP_COUNTERS];
    return __builtin_expect(Counter->InUse, 1) ? Counter : ExpCounterOfSlotSlow(Cache, Slot);
}
/* Counters are written by their thread alone and read by others at any time. */
#define EXP_COUNT_STORE(Field, Value) __atomic_store_n(&(Field), (Value), __ATOMIC_RELAXED)
#define EXP_COUNT_LOAD(Field)         __atomic_load_n(&(Field), __ATOMIC_RELAXED)
VOID ExpNewMaximum(EXP_COUNTER *Counter, LONG64 Delta); /* and folds, if Delta has moved far */
VOID ExpFoldSlow(EXP_COUNTER *Counter);
static inline VOID ExpCountUp(EXP_COUNTER *Counter, SIZE_T Bytes)
{
    LONG64 Delta = Counter->Delta + (LONG64)Bytes;
    EXP_COUNT_STORE(Counter->Delta, Delta);
    if (__builtin_expect(Delta > Counter->MaxDelta, 0))
        ExpNewMaximum(Counter, Delta);
}
static inline VOID ExpCountDown(EXP_COUNTER *Counter, SIZE_T Bytes)
{
    LONG64 Delta = Counter->Delta - (LONG64)Bytes;
    EXP_COUNT_STORE(Counter->Delta, Delta);
    if (__builtin_expect(Delta < -EXP_FOLD_BYTES, 0))
        ExpFoldSlow(Counter);
}
static inline VOID ExpCountAlloc(EXP_CACHE *Cache, EXP_COUNTER *Counter, ULONG Paged, SIZE_T Size)
{
    EXP_COUNT_STORE(Counter->Allocs, Counter->Allocs + 1);
    ExpCountUp(Counter, Size);
    ExpCountUp(&Cache->Total[Paged], Size);
}
static inline VOID ExpCountFree(EXP_CACHE *Cache, EXP_COUNTER *Counter, ULONG Paged, SIZE_T Size)
{
    EXP_COUNT_STORE(Counter->Frees, Counter->Frees + 1);
    ExpCountDown(Counter, Size);
    ExpCountDown(&Cache->Total[Paged], Size);
}

/* stack.c */
/* Id of the stack that called the routine whose frame it is (__builtin_frame_address(0)); 0: none kept. */
ULONG ExpCaptureStack(PVOID Frame);
ULONG ExpReadStack(ULONG Id, ULONG_PTR Frames[EXP_MAX_STACK]); /* number of frames */
VOID ExpResetStacks(VOID);

/* Under the address sanitizer everything of a slab that is not the requested bytes of a live block is
 * poisoned, so an overrun or a use after free is reported at its line. What these files check themselves they
 * unpoison first. */
#if defined(__SANITIZE_ADDRESS__)
#define EXP_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EXP_ASAN 1
#endif
#endif
#ifdef EXP_ASAN
VOID __asan_poison_memory_region(const volatile VOID *Address, SIZE_T Bytes);
VOID __asan_unpoison_memory_region(const volatile VOID *Address, SIZE_T Bytes);
#define ExpPoison(Address, Bytes)   __asan_poison_memory_region((const volatile VOID *)(Address), (Bytes))
#define ExpUnpoison(Address, Bytes) __asan_unpoison_memory_region((const volatile VOID *)(Address), (Bytes))
#else
#define ExpPoison(Address, Bytes)   ((void)0)
#define ExpUnpoison(Address, Bytes) ((void)0)
#endif

/* check.c */
#define EXP_FILL_SLACK    0x5Au
#define EXP_FILL_FREED    0xDFu
#define EXP_SLACK_PATTERN (EXP_FILL_SLACK * 0x0101010101010101ull)
#define EXP_FREED_PATTERN (EXP_FILL_FREED * 0x0101010101010101ull)
DECLSPEC_NORETURN VOID ExpStopSlack(PVOID Block, SIZE_T Size, ULONG Slack);
DECLSPEC_NORETURN VOID ExpStopFreedFill(PVOID Block, SIZE_T BlockSize);
/* Unaligned access. */
typedef struct __attribute__((packed, may_alias)) _EXP_ANY64 {
    ULONG64 Value;
} EXP_ANY64;
/* What of the 16 bytes is slack, by the number of slack bytes, 16 standing for more. */
extern const ULONG64 ExpSlackMasks[17][2];
/* The 16 bytes that hold the slack: right behind the requested ones, or, where less than 16 are slack, the
 * last of the block. No branch on the amount: it is as good as random. */
static inline EXP_ANY64 *ExpSlackAt(PVOID Block, SIZE_T Size, ULONG Slack)
{
    return (EXP_ANY64 *)((PUCHAR)Block + Size - (Slack < 16 ? 16 - Slack : 0));
}
/* On allocation, before the contents are anybody's: may write over the last requested bytes. The block and
 * its slack are 16 bytes or more together. */
static inline VOID ExpFillSlack(PVOID Block, SIZE_T Size, ULONG Slack)
{
    EXP_ANY64 *At = ExpSlackAt(Block, Size, Slack);
    At[0].Value = EXP_SLACK_PATTERN;
    At[1].Value = EXP_SLACK_PATTERN;
}
static inline VOID ExpCheckSlack(PVOID Block, SIZE_T Size, ULONG Slack)
{
    const EXP_ANY64 *At = ExpSlackAt(Block, Size, Slack);
    const ULONG64 *Mask = ExpSlackMasks[Slack < 16 ? Slack : 16];
    if (__builtin_expect((((At[0].Value ^ EXP_SLACK_PATTERN) & Mask[0]) | ((At[1].Value ^ EXP_SLACK_PATTERN) & Mask[1])) != 0,
                         0))
        ExpStopSlack(Block, Size, Slack);
}
static inline VOID ExpFillFreed(PVOID Block, SIZE_T BlockSize)
{
    ULONG64 *At = Block;
    At[0] = At[1] = EXP_FREED_PATTERN;
    if (BlockSize >= 32)
        At[2] = At[3] = EXP_FREED_PATTERN;
}
static inline BOOLEAN ExpIsFreedFill(PVOID Block, SIZE_T BlockSize)
{
    const ULONG64 *At = Block;
    ULONG64 Changed = (At[0] ^ EXP_FREED_PATTERN) | (At[1] ^ EXP_FREED_PATTERN);
    if (BlockSize >= 32)
        Changed |= (At[2] ^ EXP_FREED_PATTERN) | (At[3] ^ EXP_FREED_PATTERN);
    return Changed == 0;
}

/* quota.c */
NTSTATUS ExpChargeQuota(struct _KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes);
VOID ExpReturnQuota(struct _KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes);
BOOLEAN ExpRecordQuota(PVOID Block, struct _KPROCESS *Process);
VOID ExpReleaseQuota(PVOID Block, BOOLEAN Paged, SIZE_T Bytes); /* finds the record and returns the charge */
VOID ExpResetQuota(VOID);

/* pool.c */
VOID ExpFreeBlock(PVOID Block, ULONG Tag, BOOLEAN Tagged);
/* ExAllocatePool2 at a priority; what it does with flags that do not do: NULL, or STATUS_INVALID_PARAMETER raised. */
PVOID ExpAllocateWithPriority(POOL_FLAGS Flags, SIZE_T Size, ULONG Tag, EX_POOL_PRIORITY Priority);
PVOID ExpFailFlags(POOL_FLAGS Flags);

/* secure.c */
BOOLEAN ExpIsSecureRequest(const POOL_EXTENDED_PARAMS_SECURE_POOL *Parameters); /* a pool that is there, flags that are known */
PVOID ExpAllocateSecure(POOL_FLAGS Flags, SIZE_T Size, ULONG Tag, const POOL_EXTENDED_PARAMS_SECURE_POOL *Parameters,
                        EX_POOL_PRIORITY Priority);
/* Frees a secure block; stops if anything about it is wrong. */
VOID ExpFreeSecure(PVOID Block, ULONG Tag, const POOL_EXTENDED_PARAMS_SECURE_POOL *Parameters);
BOOLEAN ExpIsSecureBlock(const VOID *Address); /* inside a live one */
VOID ExpResetSecurePools(VOID);
VOID ExpEnumerateSecure(VOID (*Visit)(ULONG Slot, SIZE_T Size, PVOID Context), PVOID Context); /* takes no lock in Visit */

/* ---- for libntmm_malloc.so: nonpaged pool without the kernel's rules ----
 * No IRQL check, no tag rules, no stacks, any size (0: a block of its own). All other checks and the accounting stay. The
 * calling thread must be attached, or attachable. Alignment: a power of two, of 16 at least in effect. NULL: no memory. */
PVOID ExpMallocLike(SIZE_T Size, SIZE_T Alignment, ULONG Tag);
VOID ExpFreeLike(PVOID Block);   /* stops like ExFreePool for anything but a live block's start */
SIZE_T ExpSizeLike(PVOID Block); /* bytes asked for */
/* Makes a live block Size bytes long where it lies: FALSE if it does not fit there, or would waste more than half. */
BOOLEAN ExpResizeLike(PVOID Block, SIZE_T Size);
BOOLEAN ExpIsPoolAddress(const volatile VOID *Address); /* of a pool's region, allocated or not */

/* ---- the verifier's seam (pool.c) ----
 * The fast paths make two tests for everything that is not always on: ExpSlow (any bit set: each allocation and free takes
 * the slow path) and, for allocations, the thread's Countdown, which reaches zero every ExpSampleInterval allocations (0:
 * never). The slow paths call these routines (NULL: none); they are never called with a lock held. */
extern volatile ULONG ExpSlow;
#define EXP_SLOW_STACKS   1u  /* keeps call stacks */
#define EXP_SLOW_TRACKING 2u  /* what is freed holds no timer and no DPC */
#define EXP_SLOW_ALLOCATE 4u  /* ExpVerifyAllocateRoutine is called for each allocation, else for the sampled ones */
#define EXP_SLOW_FREE     8u  /* ExpVerifyFreeRoutine is called for each free of a live block of the pools */
#define EXP_SLOW_FAIL     16u /* KiFailHere is asked for each allocation */
extern volatile ULONG ExpSampleInterval;
typedef struct _EXP_REQUEST {
    EXP_KIND Kind;
    SIZE_T Size;
    ULONG Tag;                 /* without PROTECTED_POOL; not 0 */
    BOOLEAN Protected;         /* it had PROTECTED_POOL */
    BOOLEAN Zero, Aligned;     /* zeroed; on a cache line */
    BOOLEAN Quota;             /* will be charged: for blocks that the pools themselves must serve */
    BOOLEAN Sampled;           /* the countdown came to zero */
    EX_POOL_PRIORITY Priority; /* with the overrun and underrun bits */
    ULONG_PTR Caller;          /* return address of the pool's routine */
} EXP_REQUEST;
/* A block of the routine's own (special pool: freed through ExpSpecialFreeRoutine), EXP_REQUEST_FAIL: the allocation fails,
 * or NULL: an ordinary block will do. */
#define EXP_REQUEST_FAIL ((PVOID)1)
extern PVOID (*ExpVerifyAllocateRoutine)(const EXP_REQUEST *Request);
/* All checks have passed and the block will be freed; may stop. */
extern VOID (*ExpVerifyFreeRoutine)(PVOID Block, SIZE_T Size, ULONG Tag, EXP_KIND Kind);
/* Accounting for blocks that lie elsewhere: counts an allocation of Bytes for the tag (FALSE: no memory for a counter), and
 * its free by the slot it was counted in. */
BOOLEAN ExpChargeTag(ULONG Tag, BOOLEAN Paged, SIZE_T Bytes, ULONG *Slot);
VOID ExpReturnTag(ULONG Slot, SIZE_T Bytes);

/* slist.c, lookaside.c */
/* As ExpInterlockedPopEntrySList, of a list that is the pools' own: a dead entry at raised IRQL is 0xC5. */
PSLIST_ENTRY ExpPopPoolEntry(PSLIST_HEADER ListHead);
VOID ExpInitLookaside(VOID);
VOID ExpInitStringMemory(VOID); /* strings.c */

/* badfree.c */
DECLSPEC_NORETURN VOID ExpStopBadFree(PVOID Block);
