/*
 * mapping.h - mappings in system PTEs: the record of each, and cache types of frames.
 * SPDX-License-Identifier: MIT
 *
 * Included by mi.h. Functions are in mapping.c (records), cacheattr.c (cache types), sysptes.c (addresses).
 */
#pragma once

typedef enum _MI_MAPPING_KIND {
    MiMappingNone,
    MiMappingMdl,        /* an MDL in system PTEs */
    MiMappingIo,         /* MmMapIoSpace */
    MiMappingReserved,   /* MmAllocateMappingAddress, empty or showing an MDL */
    MiMappingContiguous, /* contiguous memory, which owns its frames */
    MiMappingNonCached,  /* MmAllocateNonCachedMemory, likewise */
    MiMappingView        /* a section in system space */
} MI_MAPPING_KIND;

#define MI_MAPPING_CALLERS 8
#define MI_MAPPING_BUCKETS 1024

typedef struct _MI_MAPPING {
    struct _MI_MAPPING *Next; /* (MI_MAPPINGS.Lock) same bucket, or free */
    ULONG_PTR Va;             /* first address of the run */
    SIZE_T Pages;             /* addresses taken, Guard included */
    SIZE_T Mapped;            /* pages that show something; reserved: 0 while empty */
    PFN_NUMBER First;         /* first frame (a hole's own number, where one is mapped) */
    PMDL Mdl;                 /* NULL: none */
    PVOID StartVa;            /* the MDL's, when it was mapped */
    ULONG Tag;                /* reserved and contiguous: the owner's */
    UCHAR Kind, Guard, CallerCount;
    union {
        UCHAR Cache;    /* I/O space: MI_CACHE */
        BOOLEAN Raises; /* a view: its in-page errors are raised, not bug checks */
    };
    ULONG_PTR Callers[MI_MAPPING_CALLERS]; /* innermost first, those of the library's own among them */
} MI_MAPPING;
C_ASSERT(sizeof(MI_MAPPING) == 128);

typedef struct _MI_MAPPINGS {
    KI_LOCK Lock; /* a leaf */
    MI_MAPPING *Free;
    ULONG64 Count, Frames;
    MI_MAPPING *Buckets[MI_MAPPING_BUCKETS];
} MI_MAPPINGS;

/* How a frame may be cached. The values lie in MMPFN.Flags (MI_PFN_CACHE); a frame in ordinary use is cached. */
typedef enum _MI_CACHE { MiCacheCached, MiCacheNone, MiCacheWriteCombined, MiCacheUndecided } MI_CACHE;
#define MI_PFN_CACHE_SHIFT 14
#define MI_PFN_CACHE       0xC000u
#define MI_PERMANENT_CACHE 16

typedef struct _MI_CACHE_RANGE {
    PFN_NUMBER First, Count;
    MI_CACHE Cache;
} MI_CACHE_RANGE;
