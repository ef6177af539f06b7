/*
 * exp.h - the pools' private structures. SPDX-License-Identifier: MIT
 *
 * Memory comes from the memory manager as address space (arenas), cut into runs of pages. A run is a slab, cut into blocks
 * of one size class, one big block of more than EXP_MAX_SMALL bytes, or free (EXP_SPAN): kept with its pages for the next
 * user, or bare. Everything known about a run is kept away from it, in resident memory of the region MmRegionSystemData, so
 * that nothing a driver writes around its blocks reaches it:
 *
 *   address --(page map of its pool region)--> EXP_RUN --+--> EXP_SLAB   bitmap, block words, stack ids
 *                                                        +--> EXP_BIG    one block
 *
 * A block of a page or less never crosses a page: every page of a slab holds PerPage blocks, then perhaps a tail. A class
 * of more than a page is a whole number of pages.
 *
 *   page:  | block | block | ... | block |   tail block   |      TailOffset = PAGE_SIZE where there is none
 *           ^Offset                       ^TailOffset
 *
 * The tails of a slab's pages, where they are worth having, form a second slab of their own class over the same pages
 * (Tail); the two are released together. A size between a half and a whole page would waste up to half of each page
 * otherwise.
 *
 * Block word (EXP_WORD), one per block: what free must know, and whether it is live.
 *     31  29 28        16 15            0
 *    | flags |  tag slot  | bytes asked for |     slot 0 is none: only a block that was never handed out has a word of 0
 *
 * Words are numbered page by page, Stride to a page: number = page * Stride + offset in page / BlockSize. The division is a
 * multiplication that leaves the remainder behind (Magic), so one product gives both the number and whether the address is
 * exactly a block's start. Where a page's rest could divide evenly, or a block has more than one page, the numbers in
 * between belong to no block: their words stay 0.
 *
 * The way of a block:
 *
 *   thread: bin = its magazines  <->  centre of the class, one lock: full magazines, then slabs  <->  spans  <->  mm
 *
 * Nearly every allocation and free goes through the thread's loaded magazine, whoever allocated the block, and touches
 * nothing that another thread writes but the block and its word. Threads exchange whole magazines through the centre.
 *
 * The fast paths (fast.c) are straight lines of tests; whatever they do not cover goes to the general paths (pool.c) with
 * nothing changed yet. What is not always on is switched by tables they read anyway, at no cost: ExpFast.Flags says no for
 * every allocation, and ExpFast.Covered for every free, while ExpSlow is set.
 *
 * Records (EXP_SLAB, EXP_BIG, EXP_CACHE) are recycled only as records of the same use and size (record.c): a late reader finds a
 * record, perhaps of another life, whose state tells.
 *
 * Locks (KI_LOCK), in order of acquisition: EXP_CENTER.Lock (of a tail's class last) -> GhostLock -> MapLock -> MetaLock;
 * SpanLock[] -> MapLock -> MetaLock; TagLock, StackLock, QuotaLock and CacheLock are leaves. None is held across a call of
 * the memory manager other than for metadata, or while a block is touched.
 */
#pragma once
#include "ex/ex.h"

#define EXP_CLASSES       47
#define EXP_BINS          64u    /* per kind: a power of two */
#define EXP_MAX_PAGE      4096u  /* the largest class that packs pages */
#define EXP_MAX_SMALL     32768u /* the largest class */
#define EXP_LISTS         8u     /* of a centre's slabs, by fullness */
#define EXP_HOST_LISTS    4u     /* those of slabs that may become hosts */
#define EXP_LEAST_GIFT    524288u
#define EXP_MAX_BLOCKS    1024u /* of a slab */
#define EXP_TAG_SLOTS     8192u
#define EXP_SLOT_OVERFLOW 1u          /* slots 1 and 2: tags beyond the table, nonpaged and paged */
#define EXP_COUNTERS      64u         /* per chunk */
#define EXP_TAG_CACHE     256u        /* tags a thread finds without looking */
#define EXP_LEAST_REACH   65536       /* a thread's unreported change of a tag's bytes (EXP_COUNTER.Reach): at first */
#define EXP_MOST_REACH    1048576     /* where it has been busy with the tag */
#define EXP_HOST_TAG      0x636c614du /* 'Malc' as it reads in memory: of ExpMallocLike's blocks */
#define EXP_GHOSTS        128u
#define EXP_MILE          64u /* pages: every so many of a big block's name it (meta.c) */
#define EXP_SHADES        4u
#define EXP_TAG_NONE      0x656e6f4eu /* 'None' as it reads in memory: untagged */
#define EXP_TAG_OVERFLOW  0x6c66764fu /* 'Ovfl' */
#define EXP_PROTECTED     0x80000000u

typedef enum _EXP_KIND { ExpNonPagedNx, ExpNonPagedExecute, ExpPaged, EXP_KINDS } EXP_KIND;
#define EXP_IS_PAGED(Kind) ((ULONG)(Kind) >> 1)
C_ASSERT(EXP_IS_PAGED(ExpNonPagedExecute) == 0 && EXP_IS_PAGED(ExpPaged) == 1);
/* The highest IRQL a kind may be used at: paged pool one below. */
#define EXP_HIGHEST_IRQL(Kind)        ((CHAR)(DISPATCH_LEVEL - EXP_IS_PAGED(Kind)))
#define EXP_IRQL_TOO_HIGH(Irql, Kind) ((CHAR)(Irql) > EXP_HIGHEST_IRQL(Kind))

/* ---- runs ---- */
typedef enum _EXP_RUN_TYPE { ExpRunSlab = 1, ExpRunBig } EXP_RUN_TYPE;

typedef struct _EXP_RUN {
    ULONG_PTR Base;
    ULONG Pages;
    UCHAR Type;
    UCHAR Kind;
    UCHAR Class;
    volatile CHAR Gate; /* the highest IRQL at which the fast path may free its blocks; EXP_GATE_ */
} EXP_RUN;
#define EXP_GATE_BIG      (-1) /* not a slab */
#define EXP_GATE_RELEASED (-2) /* the pages are no longer the run's; the record lingers for reports */
static inline BOOLEAN ExpIsReleased(const EXP_RUN *Run)
{
    return __atomic_load_n(&Run->Gate, __ATOMIC_ACQUIRE) == EXP_GATE_RELEASED;
}

typedef ULONG EXP_WORD;
#define EXP_WORD_SLOT(W)   ((W) >> 16 & 0x1FFFu)
#define EXP_WORD_SIZE(W)   ((W)&0xFFFFu)
#define EXP_WORD_LIVE      0x80000000u /* the highest bits: one comparison tells a plain live block */
#define EXP_WORD_QUOTA     0x40000000u
#define EXP_WORD_PROTECTED 0x20000000u
static inline EXP_WORD ExpMakeWord(ULONG Slot, ULONG Size, ULONG Flags)
{
    return Size | Slot << 16 | Flags | EXP_WORD_LIVE;
}

typedef enum _EXP_SLAB_STATE {
    ExpSlabListed = 1, /* on one of its centre's lists: has free blocks */
    ExpSlabFull,       /* on no list */
    ExpSlabHost,       /* on no list: hands its pages over to another slab as its blocks end (adopt.c) */
    ExpSlabReleased,
} EXP_SLAB_STATE;

/* There is one for each sixteen blocks or so: what follows from class and pages is not kept but asked for (ExpWordsOf and those after it). */
typedef struct _EXP_SLAB {
    EXP_RUN Run;            /* shared with EXP_BIG */
    struct _EXP_SLAB *Tail; /* main: its tail slab; tail: its main; NULL: none */
    struct _EXP_SLAB *Host; /* atomic: whose last blocks are still in these pages (adopt.c), or NULL */
    union {                 /* (centre's lock, like all that follows) */
        struct _EXP_SLAB *Next;
        struct _EXP_SLAB *Guest; /* of a host: the slab that its pages are of */
    };
    struct _EXP_SLAB *Prev;
    struct _EXP_BIN *Home; /* whose Home it is, or NULL */
    USHORT BlockSize;
    USHORT Used; /* blocks not free as far as the slab knows */
    USHORT BlockCount;
    USHORT Least, Most; /* Used stays on this list from Least to Most */
    UCHAR State, List;
    BOOLEAN IsTail;
    BOOLEAN Draining; /* atomic: what is freed here goes back at once, past the magazines (center.c) */
    UCHAR FreeWords;  /* of Free */
    ULONG64 Free[];   /* by number; those of no block are 0. Then the blocks' words, and the stacks' ids */
} EXP_SLAB;
C_ASSERT(sizeof(EXP_SLAB) == 72);

typedef struct _EXP_BIG {
    EXP_RUN Run;
    volatile EXP_WORD Word; /* bytes unused */
    ULONG Stacks[2];
    SIZE_T Size;
} EXP_BIG;

/* A free run of pages (run.c). */
typedef struct _EXP_SPAN {
    ULONG_PTR Base;
    ULONG Pages;
    UCHAR Kind, Backed;
    USHORT Bin;
    struct _EXP_SPAN *Next, *Prev;
} EXP_SPAN;
#define EXP_SPAN_BINS 128u

/* ---- per thread ---- */
/* A free block in a thread's hands, with its block word. */
typedef struct _EXP_ENTRY {
    ULONG_PTR Block; /* 0: the bottom of the magazine */
    EXP_WORD *Word;
} EXP_ENTRY;

typedef struct _EXP_MAGAZINE {
    struct _EXP_MAGAZINE *Next;
    ULONG Count; /* while no bin has it */
    ULONG Room;
    EXP_ENTRY Entries[]; /* [1 + Room]: the first is the bottom */
} EXP_MAGAZINE;

typedef struct _EXP_BIN {
    EXP_ENTRY *Top;   /* the last entry of the loaded magazine; its bottom: none */
    EXP_ENTRY *Limit; /* Top of a full one */
    ULONG Magic;      /* as of the class, like the following: all that the fast paths read lies in one line */
    USHORT BlockSize, TailOffset;
    CHAR Irql;      /* the highest */
    UCHAR Most;     /* magazines in Chain: grows up to the class's (cache.c) */
    BOOLEAN Parked; /* Loaded is put by, with Count blocks: Top and Limit are ExpNoEntry until the bin is next used */
    UCHAR Second;   /* where the second half of the freed pattern is: 16, and 0 in blocks of no more */
    BOOLEAN Spilt;  /* a full magazine went to the centre for want of room in Chain since the centre was last asked */
    UCHAR Reserved;
    USHORT Taken;         /* blocks from slabs so far, 1,024 at most: so many tell how many to take next time */
    EXP_MAGAZINE *Loaded; /* NULL until the bin is first used: Top and Limit are ExpNoEntry then */
    EXP_MAGAZINE *Chain;  /* empty ones, then full ones: atomic, whoever exchanges it for NULL has it (cache.c) */
    EXP_SLAB *Home;       /* (centre's lock) the slab that blocks are taken from, by this bin alone; or NULL */
    ULONG Stamp;          /* atomic: trims when Chain last changed hands */
    ULONG Reserved2;
} EXP_BIN;
C_ASSERT(sizeof(EXP_BIN) == 64);

/* What a thread has counted of a tag since it last told the tag's own record (fold).
 *
 *        0 ... Balance ............... Peak         Balance = Peak - Headroom
 *               |<----- Headroom ----->|            allocations: Allocs - Left, or Allocs where Left is below 0
 *
 * So an allocation that does not raise the peak is one subtraction that does not carry, and a free one addition that does
 * not exceed Reach: that is the most that a thread may keep to itself. A thread that has more to tell all the time gets a longer
 * one, since each telling takes the tag's record away from the processor that told it last. */
typedef struct _EXP_COUNTER {
    LONG Headroom;  /* below 0 for an instant of an allocation */
    LONG Left;      /* allocations until the general path takes notice: for a sample, or to fold; below 0: now */
    EXP_WORD Word;  /* of a live block of this slot of no bytes */
    ULONG Tag;      /* 0: not in use */
    LONG64 Peak;    /* the highest balance, 0 at least */
    ULONG64 Allocs; /* with those Left */
    ULONG64 Frees;
    struct _EXP_TAG *Record; /* NULL: not in use */
    ULONG Slot;
    LONG Deferred; /* where Left was cut short for a fold: the rest of it */
    LONG Reach;    /* grows only */
    ULONG Folded;  /* allocations and frees at the last fold */
} EXP_COUNTER;
C_ASSERT(sizeof(EXP_COUNTER) == 64);

typedef struct _EXP_CACHE {
    EXP_COUNTER *Host; /* of EXP_HOST_TAG; NoHost until it is first used */
    KTHREAD *Thread;
    struct _EXP_CACHE *NextCache; /* all caches ever made */
    struct _EXP_CACHE *NextFree;
    ULONG64 Random;
    ULONG64 UsedBins[EXP_KINDS]; /* bits: bins that have a magazine; atomic */
    EXP_BIN Bins[EXP_KINDS * EXP_BINS];
    /* What a thread of libntmm_malloc.so touches of the rest lies in one page. */
    EXP_COUNTER *Chunks[EXP_TAG_SLOTS / EXP_COUNTERS];
    ULONG64 Visited;                       /* trims when the thread last gave up what it does not use */
    ULONG Shade;                           /* of its records (record.c) */
    DECLSPEC_ALIGN(64) EXP_COUNTER NoHost; /* always due, its word none's: the fast paths leave it to the general ones */
    EXP_COUNTER First[EXP_COUNTERS];       /* the first chunk */
    struct {
        ULONG Key; /* tag, with bit 31 for paged pool */
        EXP_COUNTER *Counter;
    } Tags[EXP_TAG_CACHE];
} EXP_CACHE;
C_ASSERT(offsetof(EXP_CACHE, Bins) == 64);
C_ASSERT(offsetof(EXP_CACHE, Chunks) / PAGE_SIZE == offsetof(EXP_CACHE, First[4]) / PAGE_SIZE);

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
typedef struct _EXP_PAGE {
    EXP_RUN *Run;   /* atomic; not of every page of a big block (meta.c) */
    EXP_SPAN *Edge; /* (SpanLock) the free run whose first or last page it is; else NULL */
} EXP_PAGE;

typedef struct _EXP_MAP {
    ULONG_PTR Base;
    SIZE_T Covered; /* bytes of the region whose entries are backed; grows */
    EXP_PAGE *Pages;
    ULONG64 *Plain; /* one per page, atomic: of a slab's page, EXP_PLAIN_ (words of the page, and bin); else 0 */
    ULONG64 *Marks; /* one bit per page (SpanLock): in a kept free run, and starts with EXP_FILL_FREED */
    SIZE_T Size;    /* bytes of the region */
} EXP_MAP;

/* ---- classes ---- */
typedef struct _EXP_CLASS {
    USHORT Size, PerPage, Stride;
    USHORT TailOffset; /* PAGE_SIZE: no tail */
    UCHAR TailClass;
    UCHAR Pages;         /* of a full-sized slab */
    UCHAR PagesPerBlock; /* 1 for the classes that pack pages */
    UCHAR Magazine;      /* entries */
    UCHAR FirstChain;    /* magazines a bin keeps at first, beside the loaded one */
    UCHAR Chain;         /* ... and at most */
    USHORT Depot;        /* full magazines a centre keeps at most */
    ULONG Magic;         /* ceil(2^32 / Size) */
    ULONG Reciprocal;    /* (1 << 20) / Stride + 1 */
} EXP_CLASS;

/* What all threads share of a kind and class. */
typedef struct _EXP_CENTER {
    KI_LOCK Lock;
    USHORT Full;              /* magazines */
    USHORT Spare, LeastSpare; /* empty ones, and the fewest of them since the last trim */
    USHORT LeastFull;         /* fewest since the last trim: so many were not needed */
    BOOLEAN InUse;            /* atomic: has had a magazine or a slab */
    BOOLEAN SpareUsed;        /* an empty slab was used, or found none, since the last trim */
    ULONG Pages;              /* of the main slabs */
    ULONG Blocks, FreeBlocks; /* of the slabs on no list too; as far as the slabs know */
    EXP_MAGAZINE *Magazines;  /* full, or of a thread that ended */
    EXP_MAGAZINE *Empties;
    EXP_SLAB *Lists[EXP_LISTS]; /* that have free blocks: least full first */
} DECLSPEC_ALIGN(64) EXP_CENTER;

/* An entry of EXP_MAP.Plain: where in EXP_CACHE.Bins the bin of the page's blocks is, and above that where their words are. Bins are counted
 * from EXP_NO_BIN on, so that 0 names that one, in which no address is the start of a block: its Magic is 0. */
#define EXP_NO_BIN            EXP_CLASSES
#define EXP_PLAIN(Words, Bin) ((ULONG64)(ULONG_PTR)(Words) << 16 | (USHORT)(((LONG)(Bin)-EXP_NO_BIN) * (LONG)sizeof(EXP_BIN)))
/* Arithmetic of integers: a page without blocks has no words, and 0 of them is no pointer to add to. */
#define EXP_PLAIN_WORD(Entry, Number) ((EXP_WORD *)((ULONG_PTR)((Entry) >> 16) + (Number) * sizeof(EXP_WORD)))
#define EXP_PLAIN_BIN(Entry)          ((LONG_PTR)(SHORT)(Entry) + EXP_NO_BIN * (LONG_PTR)sizeof(EXP_BIN)) /* in bytes */
C_ASSERT(EXP_KINDS *EXP_BINS * sizeof(EXP_BIN) <= 32768 && EXP_NO_BIN < EXP_BINS);

/* What the fast paths read, and how they are switched off. */
typedef struct _EXP_FAST {
    /* Not touched by libntmm_malloc.so. */
    ULONG Types[1024]; /* for POOL_TYPEs below 1024 */
    ULONG Flags[512];  /* for POOL_FLAGS below 512 */
    /* What every process touches. */
    USHORT BinOf[EXP_MAX_SMALL / 16]; /* (size - 1) / 16: the class's bin of the first kind, in bytes */
    struct {
        ULONG_PTR Base;
        SIZE_T Covered; /* 0: every free takes the general path */
        ULONG64 *Plain;
    } Maps[2];
    SIZE_T MaxSmall;
    ULONG Checks; /* slack is filled and checked, freed blocks are filled and checked: KE_OPTIONS.PoolChecks */
    ULONG Reserved;
} DECLSPEC_ALIGN(64) EXP_FAST;
extern EXP_FAST ExpFast;
/* What another thread may write while it is read here. A plain load is a whole one on this machine, and an instruction less where it is
 * part of another, which only the thread sanitizer must be told. */
#ifdef KI_TSAN
#define EXP_PEEK(Field) __atomic_load_n(&(Field), __ATOMIC_ACQUIRE)
#else
#define EXP_PEEK(Field) (Field)
#endif
/* Of the bin a size goes to, which is not 0; changes while threads read it (ExpMoveRoom). */
static inline ULONG ExpBinOf(SIZE_T Size)
{
    return EXP_PEEK(ExpFast.BinOf[(Size - 1) >> 4]);
}
static inline ULONG ExpClassOfSize(SIZE_T Size)
{
    return ExpBinOf(Size) / (ULONG)sizeof(EXP_BIN);
}
/* Which classes are the roomy ones now (slab.c); Phase: random. Any IRQL. */
VOID ExpMoveRoom(ULONG Phase);
/* An entry of Flags and Types: bits 0-7 the highest IRQL, signed (-1: the general path decides), 12-13 the kind, 31 paged. */
#define EXP_FAST_NO      0xFFu
#define EXP_FAST_KIND(D) ((D)&0x3000u) /* its first bin in EXP_CACHE.Bins, in bytes */
#define EXP_FAST_PAGED   0x80000000u
C_ASSERT(EXP_BINS * sizeof(EXP_BIN) == 0x1000);
static inline BOOLEAN ExpChecks(VOID)
{
    return ExpFast.Checks != 0;
}

/* ---- everything ---- */
typedef struct _EXP_STATE {
    /* What every process touches. */
    EXP_MAP Maps[2]; /* nonpaged, paged */
    EXP_CLASS Classes[EXP_CLASSES];
    BOOLEAN Started;
    BOOLEAN KeepRuns; /* freed runs of pages stay mapped for the next user */
    ULONG StackDepth;
    ULONG64 Seed;
    KI_LOCK MapLock, MetaLock, GhostLock, TagLock, StackLock, QuotaLock, CacheLock, SpanLock[2];
    SIZE_T FreePages[EXP_KINDS];  /* (SpanLock) in backed spans */
    SIZE_T LeastFree[EXP_KINDS];  /* (SpanLock) lowest since the last trim */
    ULONG64 Donors[EXP_KINDS];    /* atomic, bits: classes that may have pages for others (adopt.c) */
    volatile ULONG64 Adopted;     /* slabs, ever */
    SIZE_T LeastGift;             /* atomic: bytes free in a class that gives pages to others */
    SIZE_T ArenaPages[EXP_KINDS]; /* (SpanLock) address space had from the memory manager */
    EXP_CACHE *Caches, *FreeCaches;
    ULONG CacheCount;
    volatile ULONG TagCount; /* slots in use; slot 0 is none */
    EXP_TAG Totals[2];
    volatile ULONG64 SlabPages[2], CommittedPages[2], ReturnedPages[2]; /* of slabs; committed and given back, ever (run.c) */
    volatile ULONG64 Volume;             /* allocations since the last trim by volume, as far as threads have reported */
    volatile ULONG64 Turn;               /* ... that make the next one due */
    volatile ULONG64 TurnKept;           /* ... where much is kept */
    ULONG64 TrimCommitted, TrimReturned; /* at the last trim: CommittedPages, and what it gave back */
    SIZE_T TrimSlabs;                    /* atomic: pages of slabs after the last trim */
    ULONG Patience;
    ULONG Fruitless; /* atomic: trims in a row that gave nothing back, while hardly a slab came or went */
    volatile ULONG64 Trims, Sampled;
    volatile LONG Pacing;             /* a trim is setting the pace of the next */
    volatile LONG Trimming, Auditing; /* trims under way; a validator, which they keep out of the way of */
    ULONG GhostNext;
    USHORT TagHash[1024];
    EXP_TAG FirstTags[EXP_COUNTERS]; /* the first chunk */
    /* Of what follows a small process (libntmm_malloc.so) touches a few lines. */
    EXP_RUN *Ghosts[EXP_GHOSTS];
    EXP_TAG *TagChunks[EXP_TAG_SLOTS / EXP_COUNTERS];
    EXP_CENTER Centers[EXP_KINDS * EXP_BINS];
    struct {
        EXP_SPAN *Heads[EXP_SPAN_BINS];
        ULONG64 Used[EXP_SPAN_BINS / 64]; /* bits: heads that are not NULL */
    } Spans[EXP_KINDS][2];                /* (SpanLock) bare, backed */
} EXP_STATE;
extern EXP_STATE ExpState;

/* Zeroes what is not: pages of large tables that were never touched stay untouched. Bytes: a multiple of 8. */
static inline VOID ExpClear(PVOID Table, SIZE_T Bytes)
{
    ULONG64 *At = Table, *End = (ULONG64 *)((PUCHAR)Table + Bytes);
    for (; At < End; At++)
        if (*At != 0)
            *At = 0;
}

/* record.c: resident memory for records. */
typedef enum _EXP_META { ExpMetaSlab, ExpMetaOther, EXP_METAS } EXP_META;
/* 32-byte aligned; page-aligned from half a page on. NULL: no memory. Zero when fresh, else as it was
 * freed, but for its first 8 bytes. */
PVOID ExpMetaAllocate(EXP_META Use, SIZE_T Bytes);
VOID ExpMetaFree(EXP_META Use, PVOID Record, SIZE_T Bytes); /* used again for the same use and size only */
VOID ExpInitRecords(VOID);
SIZE_T ExpTrimRecords(VOID); /* gives pages back that have been empty for two calls; returns how many */
const CHAR *ExpValidateRecords(VOID);

/* meta.c: page maps. */
NTSTATUS ExpInitMeta(VOID);
/* FALSE: libntmm_malloc.so, which has one kind of pool. What it does not need stays untouched pages. After ExpInitMeta. */
static inline BOOLEAN ExpHasPagedPool(VOID)
{
    return ExpState.Maps[1].Size > PAGE_SIZE;
}
BOOLEAN ExpCoverPages(ULONG Paged, ULONG_PTR Base, SIZE_T Pages); /* the map has room for them; FALSE: no memory */
VOID ExpMapRun(EXP_RUN *Run);                                     /* enters a run into its page map */
VOID ExpShowRun(EXP_RUN *Run, BOOLEAN Fast);                      /* whether the fast path may free a slab's blocks */
VOID ExpReleaseRun(EXP_RUN *Run, BOOLEAN Marked);                 /* gives the pages back; the record lingers as a ghost */
VOID ExpEnterGhost(EXP_RUN *Run);                                 /* the record alone: its pages are another's already */
/* A slab's ghost that had a block at an address which is nobody's now, or NULL. */
EXP_SLAB *ExpFindGhost(ULONG_PTR Address);
static inline EXP_RUN *ExpLookupIn(const EXP_MAP *Map, ULONG_PTR Offset)
{
    return __atomic_load_n(&Map->Pages[Offset >> 12].Run, __ATOMIC_ACQUIRE);
}
/* What the page of an address of either pool region names: its run, if it is a slab's or a big block's first; or NULL. */
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

/* The run that an address lies in, in use or else a ghost; or NULL. For reports. */
EXP_RUN *ExpFindRun(ULONG_PTR Address);

/* run.c: free runs of pages. */
/* Backed pages, entered in no map yet. *Zero: whether they must be zero, and whether they are. 0: no memory. */
/* A request that wants a NUMA node says so in the upper half of its priority: 1 + the node, and whether no other will do. Its pages are
 * committed anew, on that node. */
#define EXP_NODE_ONLY 0x01000000u
#define EXP_ON_NODE(Priority, Node, Only)                                                                                      \
    ((EX_POOL_PRIORITY)((ULONG)(Priority) | ((ULONG)(Node) + 1u) << 16 | ((Only) ? EXP_NODE_ONLY : 0)))
#define EXP_NODE_OF(Priority) ((ULONG)(Priority) >> 16 & 0xFFu)
#define EXP_NODE_FLAGS(Priority)                                                                                               \
    (EXP_NODE_OF(Priority) ? MM_PAGES_NODE(EXP_NODE_OF(Priority) - 1) | ((Priority)&EXP_NODE_ONLY ? MM_PAGES_NODE_ONLY : 0) : 0)
#define EXP_PLAIN_PRIORITY(Priority) ((EX_POOL_PRIORITY)((ULONG)(Priority)&0xFFFFu))
ULONG_PTR ExpTakePages(EXP_KIND Kind, SIZE_T Pages, SIZE_T Alignment, BOOLEAN *Zero, EX_POOL_PRIORITY Priority);
/* Marked: the first bytes are EXP_FILL_FREED and must still be when the pages are taken again. */
VOID ExpGivePages(EXP_KIND Kind, ULONG_PTR Base, SIZE_T Pages, BOOLEAN Marked);
/* Gives up to so many pages of kept free runs back to the memory manager; returns how many. */
SIZE_T ExpReturnPages(EXP_KIND Kind, SIZE_T Pages);
ULONG ExpSpanBin(SIZE_T Pages);

/* trim.c; trimtimer.c: when. */
VOID ExpInitTrim(VOID);
VOID ExpStopTrim(VOID);
BOOLEAN ExpIsAnythingKept(VOID); /* whether another trim could give something up */
VOID ExpArmTrim(VOID);           /* something has become free; cheap */
VOID ExpTrimSoon(VOID);          /* do not wait for the timer */
#define EXP_LEAST_TURN 65536u
ULONG64 ExpVolumeDue(VOID);              /* allocations between two trims by volume, as things are */
VOID ExpNoteVolume(ULONG64 Allocations); /* a thread has made so many more: a trim may be due */
SIZE_T ExpTrimPools(BOOLEAN All);        /* what was not needed since the last call, or whatever is free; returns pages */

/* slab.c */
VOID ExpInitClasses(VOID);
ULONG ExpClassFor(SIZE_T Size, SIZE_T Alignment); /* the smallest whose blocks are so aligned */
/* A slab of a centre (its lock not held), on no list; NULL: no memory. */
EXP_SLAB *ExpCreateSlab(EXP_KIND Kind, ULONG Class, ULONG Pages, EX_POOL_PRIORITY Priority);
EXP_SLAB *ExpCreateGuest(EXP_SLAB *Host, ULONG Class); /* without blocks, in no map yet */
VOID ExpFreeSlab(EXP_SLAB *Slab);                      /* a main slab on no list, it and its tail empty */
VOID ExpRecycleRecord(EXP_RUN *Run);                   /* a ghost is forgotten: its record may be used again */
static inline const EXP_CLASS *ExpClassOfSlab(const EXP_SLAB *Slab)
{
    return &ExpState.Classes[Slab->Run.Class];
}
static inline ULONG ExpBinOfSlab(const EXP_SLAB *Slab)
{
    return Slab->Run.Kind * EXP_BINS + Slab->Run.Class;
}
/* Words to a page, and blocks. */
static inline ULONG ExpStride(const EXP_SLAB *Slab)
{
    return Slab->IsTail ? 1 : ExpClassOfSlab(Slab)->Stride;
}
static inline ULONG ExpPerPage(const EXP_SLAB *Slab)
{
    return Slab->IsTail ? 1 : ExpClassOfSlab(Slab)->PerPage;
}
static inline ULONG ExpNumbers(const EXP_SLAB *Slab)
{
    return Slab->Run.Pages * ExpStride(Slab);
}
/* Where a page's first block is: a tail ends with its page. */
static inline ULONG ExpFirstOffset(const EXP_SLAB *Slab)
{
    return Slab->IsTail ? (ULONG)PAGE_SIZE - Slab->BlockSize : 0;
}
/* Where a page's tail is, of a main slab. */
static inline ULONG ExpTailOffset(const EXP_SLAB *Slab)
{
    return ExpClassOfSlab(Slab)->TailOffset;
}
static inline EXP_WORD *ExpWordsOf(const EXP_SLAB *Slab) /* [ExpNumbers] */
{
    return (EXP_WORD *)&Slab->Free[Slab->FreeWords];
}
/* [2 * ExpNumbers]: allocation and free; NULL: none are kept. */
static inline PULONG ExpStacksOf(const EXP_SLAB *Slab)
{
    return ExpState.StackDepth != 0 ? (PULONG)(ExpWordsOf(Slab) + ExpNumbers(Slab)) : NULL;
}
/* Number of the block that starts at Address, or MAXULONG: none does. */
static inline ULONG ExpBlockNumber(const EXP_SLAB *Slab, ULONG_PTR Address)
{
    ULONG Magic = ExpClassOfSlab(Slab)->Magic;
    ULONG64 Product = (ULONG64)((ULONG)(Address & (PAGE_SIZE - 1)) - ExpFirstOffset(Slab)) * Magic;
    if (__builtin_expect((ULONG)Product >= Magic, 0))
        return MAXULONG;
    return (ULONG)((Address - Slab->Run.Base) >> 12) * ExpStride(Slab) + (ULONG)(Product >> 32);
}
static inline ULONG_PTR ExpBlockAddress(const EXP_SLAB *Slab, ULONG Number)
{
    const EXP_CLASS *Class = ExpClassOfSlab(Slab);
    ULONG Page;
    if (Slab->IsTail)
        return Slab->Run.Base + ((ULONG_PTR)Number << 12) + ExpFirstOffset(Slab);
    Page = (Number * Class->Reciprocal) >> 20; /* Number / Stride */
    return Slab->Run.Base + ((ULONG_PTR)Page << 12) + (Number - Page * Class->Stride) * Slab->BlockSize;
}
/* The list of its fullness, of a slab that has free blocks. */
static inline ULONG ExpListFor(const EXP_SLAB *Slab)
{
    return Slab->Used * EXP_LISTS / Slab->BlockCount;
}
/* (the centre's lock) As far as the slab knows. */
static inline BOOLEAN ExpIsFree(const EXP_SLAB *Slab, ULONG Number)
{
    return (Slab->Free[Number / 64] >> (Number % 64)) & 1;
}
/* The block that Address lies in, or the one before it. */
static inline ULONG ExpNumberAround(const EXP_SLAB *Slab, ULONG_PTR Address)
{
    ULONG Page = (ULONG)((Address - Slab->Run.Base) >> 12), Index;
    if (ExpClassOfSlab(Slab)->PagesPerBlock > 1)
        return Page - Page % ExpClassOfSlab(Slab)->PagesPerBlock;
    Index = ((ULONG)(Address & (PAGE_SIZE - 1)) - ExpFirstOffset(Slab)) / Slab->BlockSize;
    return Page * ExpStride(Slab) + (Index >= ExpPerPage(Slab) ? ExpPerPage(Slab) - 1u : Index);
}
/* Of the slabs that share the page, the one that an address belongs to: for reports, since a host may go at that moment (adopt.c). */
EXP_SLAB *ExpHostOrGuest(EXP_SLAB *Guest, EXP_SLAB *Host, ULONG_PTR Address);
static inline EXP_SLAB *ExpSlabAt(EXP_RUN *Run, ULONG_PTR Address)
{
    EXP_SLAB *Slab = (EXP_SLAB *)Run, *Host = __atomic_load_n(&Slab->Host, __ATOMIC_ACQUIRE);
    if (__builtin_expect(Host != NULL, 0))
        return ExpHostOrGuest(Slab, Host, Address);
    return (Address & (PAGE_SIZE - 1)) >= ExpTailOffset(Slab) ? Slab->Tail : Slab;
}
/* The same for the address of a live block, which neither slab goes before; no centre's lock is held. */
EXP_SLAB *ExpFindShared(EXP_SLAB *Guest, ULONG_PTR Address);
static inline EXP_SLAB *ExpFindSlab(EXP_RUN *Run, ULONG_PTR Address)
{
    EXP_SLAB *Slab = (EXP_SLAB *)Run;
    if (__builtin_expect(__atomic_load_n(&Slab->Host, __ATOMIC_ACQUIRE) != NULL, 0))
        return ExpFindShared(Slab, Address);
    return (Address & (PAGE_SIZE - 1)) >= ExpTailOffset(Slab) ? Slab->Tail : Slab;
}
/* The same for a block that a magazine has, or is being put into one: it is live in neither, but its word tells. A host is there as
 * long as a block of it is in use; for one of the guest's it may go at any time, and is not looked at. */
static inline EXP_SLAB *ExpSlabOf(ULONG_PTR Block, const EXP_WORD *Word)
{
    EXP_SLAB *Slab = (EXP_SLAB *)ExpLookupRun(Block), *Host = __atomic_load_n(&Slab->Host, __ATOMIC_ACQUIRE);
    if (__builtin_expect(Host != NULL, 0))
        return (ULONG_PTR)Word - (ULONG_PTR)ExpWordsOf(Slab) < ExpNumbers(Slab) * sizeof(EXP_WORD) ? Slab : Host;
    return (Block & (PAGE_SIZE - 1)) >= ExpTailOffset(Slab) ? Slab->Tail : Slab;
}
static inline EXP_WORD ExpReadWord(const volatile EXP_WORD *Word)
{
    return __atomic_load_n(Word, __ATOMIC_RELAXED);
}
static inline VOID ExpWriteWord(volatile EXP_WORD *Word, EXP_WORD Value)
{
    __atomic_store_n(Word, Value, __ATOMIC_RELAXED);
}

/* center.c */
/* Blocks for a bin whose Loaded is empty: a full magazine in its place, or itself with some of them; NULL: no memory. */
EXP_MAGAZINE *ExpFillMagazine(EXP_CENTER *Center, EXP_BIN *Bin, ULONG64 *Seed, EX_POOL_PRIORITY Priority);
VOID ExpLeaveHome(EXP_CENTER *Center, EXP_BIN *Bin); /* others may take from the bin's slab too */
/* Takes the blocks of a magazine (keeps it while there is room) and returns an empty one, or NULL: no memory. */
EXP_MAGAZINE *ExpDeposit(EXP_CENTER *Center, EXP_MAGAZINE *Magazine, BOOLEAN Drain);
EXP_MAGAZINE *ExpCreateMagazine(EXP_CENTER *Center);
VOID ExpGiveEmpty(EXP_CENTER *Center, EXP_MAGAZINE *Magazine);
VOID ExpReturnBlocks(EXP_CENTER *Center, EXP_ENTRY *Entries, ULONG Count); /* to their slabs */
BOOLEAN ExpIsUsed(const EXP_CENTER *Center);                               /* FALSE: has nothing, and never had */
ULONG ExpTrimCenter(EXP_CENTER *Center, BOOLEAN All);                      /* returns blocks in use and in magazines */

/* ... for adopt.c, the centre's lock held: */
VOID ExpUnlink(EXP_CENTER *Center, EXP_SLAB *Slab);
VOID ExpSettle(EXP_CENTER *Center, EXP_SLAB *Slab); /* Used or BlockCount has changed: its list, and whether it drains */
VOID ExpEnterSlab(EXP_CENTER *Center, EXP_SLAB *Slab);
BOOLEAN ExpIsSparse(const EXP_CENTER *Center);
#define EXP_VICTIMS_MAX 16u
typedef struct _EXP_VICTIMS {
    EXP_SLAB *Slabs[EXP_VICTIMS_MAX]; /* mains: empty like their tails, Released, off their lists */
    ULONG Count;
} EXP_VICTIMS;
/* A slab of the centre is empty: to be released, unless Keep and nothing else is free. */
VOID ExpNoteEmpty(EXP_CENTER *Center, EXP_SLAB *Slab, EXP_VICTIMS *Victims, BOOLEAN Keep);

/* adopt.c */
/* Takes a slab's pages over for this centre, no lock held. FALSE: there are none to be had. */
BOOLEAN ExpAdopt(EXP_CENTER *Center);
/* A block of a host is free: with the centre's lock, which is let go of in between. FALSE: it was free already. */
BOOLEAN ExpYield(EXP_CENTER *Center, EXP_SLAB *Host, ULONG Number, EXP_VICTIMS *Victims);
/* A trim says whether others may have pages of the centre, until the next one. */
VOID ExpNoteDonor(const EXP_CENTER *Center, BOOLEAN Gives);

/* cache.c */
extern EXP_ENTRY ExpNoEntry;
EXP_CACHE *ExpGetCache(KTHREAD *Thread); /* makes one; NULL: no memory */
/* Puts free blocks into the bin's empty magazine. FALSE: no memory. */
BOOLEAN ExpRefill(EXP_CACHE *Cache, ULONG BinIndex, EX_POOL_PRIORITY Priority);
/* Room for one more in the bin's full magazine. FALSE: no memory for another. */
BOOLEAN ExpMakeRoom(EXP_CACHE *Cache, ULONG BinIndex);
/* A freed block that finds the magazine full, or no cache at all (NULL). */
VOID ExpSpill(EXP_CACHE *Cache, ULONG BinIndex, ULONG_PTR Block, EXP_WORD *Word);
VOID ExpTrimCache(EXP_CACHE *Cache); /* the calling thread's own, or nobody's: gives up what it holds */
VOID ExpTrimFreeCaches(VOID);
VOID ExpTrimIdleBins(BOOLEAN All);    /* of threads that live: their second magazines */
VOID ExpVisitCache(EXP_CACHE *Cache); /* the thread's own: what it has not used since the trim before last */

/* bigpool.c */
PVOID ExpAllocateBig(EXP_KIND Kind, SIZE_T Size, SIZE_T Alignment, ULONG Slot, ULONG WordFlags, BOOLEAN Zero,
                     EX_POOL_PRIORITY Priority);
VOID ExpFreeBig(EXP_BIG *Big);

/* tag.c */
EXP_COUNTER *ExpFindCounterSlow(EXP_CACHE *Cache, ULONG Tag, BOOLEAN Paged);
EXP_COUNTER *ExpCounterOfSlotSlow(EXP_CACHE *Cache, ULONG Slot);
extern EXP_COUNTER ExpNoCounters[EXP_COUNTERS]; /* stands for a chunk that is not there: none in use */
ULONG ExpFindSlot(ULONG Tag, BOOLEAN Paged);    /* never 0 */
EXP_TAG *ExpTagOfSlot(ULONG Slot);
VOID ExpFold(EXP_COUNTER *Counter, LONG64 Balance); /* tells the tag's record, and starts anew */
VOID ExpFoldCache(EXP_CACHE *Cache);
/* Left has come to an end: starts it anew. TRUE: this allocation is a sample. */
BOOLEAN ExpRenew(EXP_CACHE *Cache, EXP_COUNTER *Counter);
VOID ExpCountShared(ULONG Slot, LONG64 Bytes, BOOLEAN Alloc); /* without a cache */
static inline ULONG ExpTagCacheIndex(ULONG Key)
{
    return (Key * 0x9E3779B1u) >> 24;
}
C_ASSERT(EXP_TAG_CACHE == 256);
/* Tag is neither 0 nor protected. */
static inline EXP_COUNTER *ExpFindCounter(EXP_CACHE *Cache, ULONG Tag, ULONG Paged)
{
    ULONG Key = Tag | Paged << 31, Index = ExpTagCacheIndex(Key);
    if (__builtin_expect(Cache->Tags[Index].Key == Key, 1))
        return Cache->Tags[Index].Counter;
    return ExpFindCounterSlow(Cache, Tag, (BOOLEAN)Paged);
}
static inline EXP_COUNTER *ExpCounterOfSlot(EXP_CACHE *Cache, ULONG Slot)
{
    EXP_COUNTER *Counter = &Cache->Chunks[Slot / EXP_COUNTERS][Slot % EXP_COUNTERS];
    return __builtin_expect(Counter->Tag != 0, 1) ? Counter : ExpCounterOfSlotSlow(Cache, Slot);
}
/* Counters are written by their thread alone and read by others at any time: a plain addition to memory is a whole one on
 * this machine, which only the thread sanitizer must be told. */
#ifdef KI_TSAN
#define EXP_COUNT_STORE(Field, Value) __atomic_store_n(&(Field), (Value), __ATOMIC_RELAXED)
#else
#define EXP_COUNT_STORE(Field, Value) ((Field) = (Value))
#endif
#define EXP_COUNT_LOAD(Field) __atomic_load_n(&(Field), __ATOMIC_RELAXED)
static inline LONG64 ExpBalance(const EXP_COUNTER *Counter)
{
    return EXP_COUNT_LOAD(Counter->Peak) - EXP_COUNT_LOAD(Counter->Headroom);
}
static inline ULONG64 ExpAllocs(const EXP_COUNTER *Counter)
{
    LONG Left = EXP_COUNT_LOAD(Counter->Left);
    return EXP_COUNT_LOAD(Counter->Allocs) - (ULONG64)(Left > 0 ? Left : 0);
}
static inline VOID ExpCountUp(EXP_COUNTER *Counter, SIZE_T Bytes)
{
    if (Bytes <= (SIZE_T)Counter->Headroom) {
        EXP_COUNT_STORE(Counter->Headroom, Counter->Headroom - (LONG)Bytes);
        return;
    }
    EXP_COUNT_STORE(Counter->Peak, Counter->Peak + (LONG64)Bytes - Counter->Headroom);
    EXP_COUNT_STORE(Counter->Headroom, 0);
    if (Counter->Peak > Counter->Reach)
        ExpFold(Counter, Counter->Peak);
}
static inline VOID ExpCountDown(EXP_COUNTER *Counter, SIZE_T Bytes)
{
    LONG64 Headroom = Counter->Headroom + (LONG64)Bytes;
    if (Headroom <= Counter->Reach)
        EXP_COUNT_STORE(Counter->Headroom, (LONG)Headroom);
    else
        ExpFold(Counter, Counter->Peak - Headroom);
}
static inline VOID ExpCountAlloc(EXP_CACHE *Cache, EXP_COUNTER *Counter, SIZE_T Size)
{
    if (Counter->Left <= 0)
        ExpRenew(Cache, Counter);
    EXP_COUNT_STORE(Counter->Left, Counter->Left - 1);
    ExpCountUp(Counter, Size);
}
static inline VOID ExpCountFree(EXP_COUNTER *Counter, SIZE_T Size)
{
    EXP_COUNT_STORE(Counter->Frees, Counter->Frees + 1);
    ExpCountDown(Counter, Size);
}

/* stack.c */
/* Id of the stack from the return address Caller on, which one of the innermost frames has; 0: none kept. */
ULONG ExpCaptureStack(ULONG_PTR Caller);
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
#elif defined(EXP_FAST_PATHS) /* not taken while there is a tool: EXP_SLOW_TOOL */
#define ExpPoison(Address, Bytes)   ((void)0)
#define ExpUnpoison(Address, Bytes) ((void)0)
#else
#define ExpPoison(Address, Bytes)   (ExpMemoryTool != NULL ? ExpMemoryTool->Hide((PVOID)(Address), (Bytes)) : (void)0)
#define ExpUnpoison(Address, Bytes) (ExpMemoryTool != NULL ? ExpMemoryTool->Show((PVOID)(Address), (Bytes)) : (void)0)
#endif

/* A memory checker that watches the process although this library was not built for it: valgrind, or a sanitizer that the program was
 * built with. The memory sanitizer, which both are built with. Set by the host before ExInitSystem, or NULL. Any IRQL; nothing is called with a lock held but Hide and Show. */
typedef struct _EXP_MEMORY_TOOL {
    VOID (*Hide)(PVOID Address, SIZE_T Bytes); /* a touch of these bytes is an error */
    VOID (*Show)(PVOID Address, SIZE_T Bytes); /* they may be touched, and have values */
    /* A block was handed out; its first Size bytes may be touched. NULL: Hide and Show are enough. */
    VOID (*Allocated)(PVOID Block, SIZE_T Size, BOOLEAN Zeroed);
    VOID (*Freed)(PVOID Block, SIZE_T Room); /* before Hide */
} EXP_MEMORY_TOOL;
extern const EXP_MEMORY_TOOL *ExpMemoryTool;
static inline VOID ExpTellAllocated(PVOID Block, SIZE_T Size, BOOLEAN Zeroed)
{
    if (__builtin_expect(ExpMemoryTool != NULL, 0) && ExpMemoryTool->Allocated != NULL)
        ExpMemoryTool->Allocated(Block, Size, Zeroed);
}
static inline VOID ExpTellFreed(PVOID Block, SIZE_T Room)
{
    if (__builtin_expect(ExpMemoryTool != NULL, 0) && ExpMemoryTool->Freed != NULL)
        ExpMemoryTool->Freed(Block, Room);
}

/* check.c */
#define EXP_FILL_SLACK    0x5Au
#define EXP_FILL_FREED    0xDFu
#define EXP_SLACK_PATTERN (EXP_FILL_SLACK * 0x0101010101010101ull)
#define EXP_FREED_PATTERN (EXP_FILL_FREED * 0x0101010101010101ull)
DECLSPEC_NORETURN VOID ExpStopSlack(PVOID Block, SIZE_T Size, SIZE_T Slack);
DECLSPEC_NORETURN VOID ExpStopFreedFill(PVOID Block, SIZE_T BlockSize);
/* Unaligned access. */
typedef struct __attribute__((packed, may_alias)) _EXP_ANY64 {
    ULONG64 Value;
} EXP_ANY64;
/* Of the slack the first 8 bytes, right behind the requested ones, and the last 8, before the next block, are filled and
 * checked; where fewer than 8 are slack, both are the block's last 8, of which Shift bits are not slack. No branch on the
 * amount: it is as good as random. */
static inline EXP_ANY64 *ExpSlackAt(PVOID Block, SIZE_T Size, SIZE_T BlockSize, ULONG *Shift, EXP_ANY64 **End)
{
    SIZE_T Last = BlockSize - 8, First = Size < Last ? Size : Last;
    *Shift = (ULONG)(Size - First) * 8;
    *End = (EXP_ANY64 *)((PUCHAR)Block + Last);
    return (EXP_ANY64 *)((PUCHAR)Block + First);
}
/* On allocation, before the contents are anybody's: may write over the last requested bytes. */
static inline VOID ExpFillSlack(PVOID Block, SIZE_T Size, SIZE_T BlockSize)
{
    ULONG Shift;
    EXP_ANY64 *End;
    ExpSlackAt(Block, Size, BlockSize, &Shift, &End)->Value = EXP_SLACK_PATTERN;
    End->Value = EXP_SLACK_PATTERN;
}
/* Where the contents are somebody's already. Size < BlockSize. */
static inline VOID ExpFillSlackOnly(PVOID Block, SIZE_T Size, SIZE_T BlockSize)
{
    ULONG Shift;
    EXP_ANY64 *End, *First = ExpSlackAt(Block, Size, BlockSize, &Shift, &End);
    ULONG64 Theirs = (1ull << Shift) - 1;
    First->Value = (First->Value & Theirs) | (EXP_SLACK_PATTERN & ~Theirs);
    End->Value = (End->Value & Theirs) | (EXP_SLACK_PATTERN & ~Theirs);
}
/* Size < BlockSize. */
static inline __attribute__((always_inline)) BOOLEAN ExpIsSlackWhole(PVOID Block, SIZE_T Size, SIZE_T BlockSize)
{
    ULONG Shift;
    EXP_ANY64 *End, *First = ExpSlackAt(Block, Size, BlockSize, &Shift, &End);
    return ((First->Value ^ EXP_SLACK_PATTERN) | (End->Value ^ EXP_SLACK_PATTERN)) >> Shift == 0;
}
static inline VOID ExpCheckSlack(PVOID Block, SIZE_T Size, SIZE_T BlockSize)
{
    if (Size != BlockSize && __builtin_expect(!ExpIsSlackWhole(Block, Size, BlockSize), 0))
        ExpStopSlack(Block, Size, BlockSize - Size);
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

/* pool.c: the general paths. */
#define EXP_ZERO     1u
#define EXP_ALIGNED  2u
#define EXP_QUOTA    4u
#define EXP_RAISE    8u
#define EXP_SPECIAL  32u /* special pool, if it can be used */
#define EXP_WITH_TAG 16u /* legacy form with a tag of its own: the tag rules of 0xC2 apply */
#define EXP_HOST     32u /* for malloc: neither IRQL nor stacks nor the verifier */
PVOID ExpAllocateFlags(POOL_FLAGS Flags, SIZE_T Size, ULONG Tag, EX_POOL_PRIORITY Priority, ULONG_PTR Caller);
PVOID ExpAllocateLegacy(ULONG Type, SIZE_T Size, ULONG Tag, ULONG Options, EX_POOL_PRIORITY Priority, ULONG_PTR Caller);
VOID ExpFreeGeneral(PVOID Block, ULONG Tag, ULONG Options, ULONG_PTR Caller); /* EXP_WITH_TAG, EXP_HOST */
VOID ExpFreeBlock(PVOID Block, ULONG Tag, BOOLEAN Tagged);
VOID ExpSetSlow(ULONG Set, ULONG Clear); /* bits of ExpSlow: the only way to change it */
VOID ExpInitFast(VOID);                  /* tables, from ExpSlow and what is covered */
VOID ExpShowCovered(VOID);
VOID ExpLockPools(BOOLEAN Lock); /* for a fork */
/* What flags that do not do come to: NULL, or STATUS_INVALID_PARAMETER raised. */
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
 * One tag (EXP_HOST_TAG), no IRQL check, no tag rules, no stacks, any size (0: a block of its own). All other checks and the accounting stay. The
 * calling thread must be attached, or attachable. Alignment: a power of two, of 16 at least in effect. NULL: no memory. */
PVOID ExpMallocLike(SIZE_T Size, SIZE_T Alignment);
PVOID ExpMallocGeneral(SIZE_T Size, SIZE_T Alignment); /* its general path */
PVOID ExpCallocGeneral(SIZE_T Size);                   /* zeroes */
VOID ExpFreeLike(PVOID Block);                         /* stops like ExFreePool for anything but a live block's start */
SIZE_T ExpSizeLike(PVOID Block);                       /* bytes asked for */
/* A block of so much room stays where it is when it is made Size bytes long: it fits, and wastes neither more than half nor a page. */
static inline BOOLEAN ExpStaysInPlace(SIZE_T Room, SIZE_T Size)
{
    return Size <= Room && Size >= Room / 2 && Room - Size < PAGE_SIZE;
}
/* Makes a live block Size bytes long where it lies: FALSE if it is not to stay there. */
BOOLEAN ExpResizeLike(PVOID Block, SIZE_T Size);
BOOLEAN ExpIsPoolAddress(const volatile VOID *Address); /* of a pool's region, allocated or not */

/* ---- the verifier's seam (pool.c) ----
 * For everything that is not always on there is ExpSlow: while it is not 0 each allocation and free takes the general path
 * (set with ExpSetSlow, which switches the fast paths' tables; threads in the middle of one finish it). And for allocations
 * there is EXP_COUNTER.Left, at its end every ExpSampleInterval allocations of a thread with a tag (0: never; set before
 * threads start, or it counts from their next sample). The general paths call these routines (NULL: none), never with a lock held. */
extern volatile ULONG ExpSlow;
static inline ULONG ExpReadSlow(VOID)
{
    return __atomic_load_n(&ExpSlow, __ATOMIC_RELAXED);
}
#define EXP_SLOW_STACKS   1u  /* keeps call stacks */
#define EXP_SLOW_TRACKING 2u  /* what is freed holds no timer and no DPC */
#define EXP_SLOW_ALLOCATE 4u  /* ExpVerifyAllocateRoutine is called for each allocation, else for the sampled ones */
#define EXP_SLOW_FREE     8u  /* ExpVerifyFreeRoutine is called for each free of a live block of the pools */
#define EXP_SLOW_FAIL     16u /* KiFailHere is asked for each allocation */
#define EXP_SLOW_TOOL     32u /* ExpMemoryTool is told of each allocation and free */
extern volatile ULONG ExpSampleInterval;
#define EXP_SAMPLE_AGAIN 4096 /* allocations until a thread looks again whether anybody wants samples */
typedef struct _EXP_REQUEST {
    EXP_KIND Kind;
    SIZE_T Size;
    ULONG Tag;                 /* without PROTECTED_POOL; not 0 */
    BOOLEAN Protected;         /* it had PROTECTED_POOL */
    BOOLEAN Zero, Aligned;     /* zeroed; on a cache line */
    BOOLEAN Quota;             /* will be charged: for blocks that the pools themselves must serve */
    BOOLEAN Sampled;           /* the countdown came to zero */
    BOOLEAN Wanted;            /* the caller asks for special pool by POOL_FLAG_SPECIAL_POOL */
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
