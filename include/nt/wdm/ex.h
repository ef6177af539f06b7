/*
 * ex.h - the executive's pools, lookaside lists and S-lists.
 * SPDX-License-Identifier: MIT
 *
 * Pool. A block of PAGE_SIZE or more starts on a page; a smaller one is 16-byte aligned and never crosses a
 * page. Only the bytes asked for are the caller's: a write behind them is found when the block is freed
 * (0x19/0x21). A block that is written to after its free is found when it is handed out again (0xC6).
 * NonPagedPool (= NonPagedPoolExecute) and POOL_FLAG_NON_PAGED_EXECUTE are executable, every other pool is
 * not.
 */
#ifndef _NTMM_EX_
#define _NTMM_EX_

typedef enum _POOL_TYPE {
    NonPagedPoolExecute = 0,
    PagedPool = 1,
    NonPagedPoolMustSucceed = 2,
    DontUseThisType = 3,
    NonPagedPoolCacheAligned = 4,
    PagedPoolCacheAligned = 5,
    NonPagedPoolCacheAlignedMustS = 6,
    MaxPoolType = 7,
    NonPagedPoolBase = 0,
    NonPagedPoolBaseMustSucceed = 2,
    NonPagedPoolBaseCacheAligned = 4,
    NonPagedPoolBaseCacheAlignedMustS = 6,
    NonPagedPoolSession = 32,
    PagedPoolSession = 33,
    NonPagedPoolMustSucceedSession = 34,
    DontUseThisTypeSession = 35,
    NonPagedPoolCacheAlignedSession = 36,
    PagedPoolCacheAlignedSession = 37,
    NonPagedPoolCacheAlignedMustSSession = 38,
    NonPagedPoolNx = 512,
    NonPagedPoolNxCacheAligned = 516,
    NonPagedPoolSessionNx = 544,
    NonPagedPool = NonPagedPoolBase
} POOL_TYPE;

/* What NonPagedPool means to a driver that opted in. POOL_NX_OPTIN_AUTO: no-execute pool. POOL_NX_OPTIN: what the driver's own variable says,
 * which ExInitializeDriverRuntime(DrvRtPoolNxOptIn) makes no-execute pool; until then it is executable.
 * Pages: Single Binary Opt-In: POOL_NX_OPTIN, Multiple Binary Opt-In: POOL_NX_OPTIN_AUTO */
#if defined(POOL_NX_OPTIN_AUTO) && POOL_NX_OPTIN_AUTO
#define NTMM_NX_ALWAYS           1
#define NonPagedPool             NonPagedPoolNx
#define NonPagedPoolCacheAligned NonPagedPoolNxCacheAligned
#elif defined(POOL_NX_OPTIN) && POOL_NX_OPTIN
EXTERN_C_START
DECLSPEC_SELECTANY POOL_TYPE ExDefaultNonPagedPoolType = NonPagedPoolExecute;
DECLSPEC_SELECTANY ULONG ExDefaultMdlProtection = 0;
EXTERN_C_END
#define NonPagedPool             ExDefaultNonPagedPoolType
#define NonPagedPoolCacheAligned ((POOL_TYPE)(ExDefaultNonPagedPoolType | NonPagedPoolBaseCacheAligned))
#endif
#ifndef POOL_NX_OPTIN_AUTO
#define POOL_NX_OPTIN_AUTO 1
#endif

#define POOL_QUOTA_FAIL_INSTEAD_OF_RAISE 8
#define POOL_RAISE_IF_ALLOCATION_FAILURE 0x10
#define POOL_COLD_ALLOCATION             0x100
#define POOL_NX_ALLOCATION               0x200
#define POOL_ZERO_ALLOCATION             0x400

typedef ULONG64 POOL_FLAGS;
#define POOL_FLAG_REQUIRED_START      0x0000000000000001ULL
#define POOL_FLAG_USE_QUOTA           0x0000000000000001ULL
#define POOL_FLAG_UNINITIALIZED       0x0000000000000002ULL
#define POOL_FLAG_SESSION             0x0000000000000004ULL
#define POOL_FLAG_CACHE_ALIGNED       0x0000000000000008ULL
#define POOL_FLAG_RESERVED1           0x0000000000000010ULL
#define POOL_FLAG_RAISE_ON_FAILURE    0x0000000000000020ULL
#define POOL_FLAG_NON_PAGED           0x0000000000000040ULL
#define POOL_FLAG_NON_PAGED_EXECUTE   0x0000000000000080ULL
#define POOL_FLAG_PAGED               0x0000000000000100ULL
#define POOL_FLAG_RESERVED2           0x0000000000000200ULL
#define POOL_FLAG_RESERVED3           0x0000000000000400ULL
#define POOL_FLAG_LAST_KNOWN_REQUIRED POOL_FLAG_RESERVED3
#define POOL_FLAG_REQUIRED_END        0x0000000080000000ULL
#define POOL_FLAG_OPTIONAL_START      0x0000000100000000ULL
#define POOL_FLAG_SPECIAL_POOL        0x0000000100000000ULL
#define POOL_FLAG_OPTIONAL_END        0x8000000000000000ULL

typedef enum _EX_POOL_PRIORITY {
    LowPoolPriority = 0,
    LowPoolPrioritySpecialPoolOverrun = 8,
    LowPoolPrioritySpecialPoolUnderrun = 9,
    NormalPoolPriority = 16,
    NormalPoolPrioritySpecialPoolOverrun = 24,
    NormalPoolPrioritySpecialPoolUnderrun = 25,
    HighPoolPriority = 32,
    HighPoolPrioritySpecialPoolOverrun = 40,
    HighPoolPrioritySpecialPoolUnderrun = 41,
} EX_POOL_PRIORITY;

typedef enum POOL_EXTENDED_PARAMETER_TYPE {
    PoolExtendedParameterInvalidType = 0,
    PoolExtendedParameterPriority,
    PoolExtendedParameterSecurePool,
    PoolExtendedParameterNumaNode,
    PoolExtendedParameterMax
} POOL_EXTENDED_PARAMETER_TYPE,
    *PPOOL_EXTENDED_PARAMETER_TYPE;
#define POOL_EXTENDED_PARAMETER_TYPE_BITS           8
#define POOL_EXTENDED_PARAMETER_REQUIRED_FIELD_BITS 1
#define POOL_EXTENDED_PARAMETER_RESERVED_BITS       55
#define SECURE_POOL_FLAGS_NONE                      0
#define SECURE_POOL_FLAGS_FREEABLE                  1
#define SECURE_POOL_FLAGS_MODIFIABLE                2
#define POOL_CREATE_FLG_SECURE_POOL                 1
#define POOL_CREATE_FLG_USE_GLOBAL_POOL             2
#define POOL_CREATE_FLG_PAGED_POOL                  4 /* these two values are ours: no public kit declares them */
#define POOL_CREATE_FLG_NONPAGED_POOL               8
#define POOL_CREATE_FLG_VALID_FLAGS                                                                                            \
    (POOL_CREATE_FLG_SECURE_POOL | POOL_CREATE_FLG_USE_GLOBAL_POOL | POOL_CREATE_FLG_PAGED_POOL | POOL_CREATE_FLG_NONPAGED_POOL)
#define POOL_CREATE_PARAMS_VERSION 1
typedef struct _POOL_EXTENDED_PARAMS_SECURE_POOL {
    HANDLE SecurePoolHandle;
    PVOID Buffer;
    ULONG_PTR Cookie;
    ULONG SecurePoolFlags;
} POOL_EXTENDED_PARAMS_SECURE_POOL;
typedef struct _POOL_EXTENDED_PARAMETER {
    struct {
        ULONG64 Type : POOL_EXTENDED_PARAMETER_TYPE_BITS;
        ULONG64 Optional : POOL_EXTENDED_PARAMETER_REQUIRED_FIELD_BITS;
        ULONG64 Reserved : POOL_EXTENDED_PARAMETER_RESERVED_BITS;
    };
    union {
        ULONG64 Reserved2;
        PVOID Reserved3;
        EX_POOL_PRIORITY Priority;
        POOL_EXTENDED_PARAMS_SECURE_POOL *SecurePoolParams;
        ULONG PreferredNode;
    };
} POOL_EXTENDED_PARAMETER, *PPOOL_EXTENDED_PARAMETER;
typedef const POOL_EXTENDED_PARAMETER *PCPOOL_EXTENDED_PARAMETER;
C_ASSERT(sizeof(POOL_EXTENDED_PARAMETER) == 0x10 && sizeof(POOL_EXTENDED_PARAMS_SECURE_POOL) == 0x20);

typedef ULONG POOL_NODE_REQUIREMENT;

typedef enum _POOL_CREATE_EXTENDED_PARAMETER_TYPE {
    PoolCreateExtendedParameterInvalidType,
    PoolCreateExtendedParameterName
} POOL_CREATE_EXTENDED_PARAMETER_TYPE,
    *PPOOL_CREATE_EXTENDED_PARAMETER_TYPE;
typedef struct _POOL_CREATE_EXTENDED_PARAMETER {
    POOL_CREATE_EXTENDED_PARAMETER_TYPE Type;
    union {
        UNICODE_STRING PoolName;
    };
} POOL_CREATE_EXTENDED_PARAMETER, *PPOOL_CREATE_EXTENDED_PARAMETER;
typedef struct _POOL_CREATE_EXTENDED_PARAMS {
    ULONG Version; /* POOL_CREATE_PARAMS_VERSION */
    ULONG ParameterCount;
    PPOOL_CREATE_EXTENDED_PARAMETER Parameters;
} POOL_CREATE_EXTENDED_PARAMS, *PPOOL_CREATE_EXTENDED_PARAMS;
C_ASSERT(sizeof(POOL_CREATE_EXTENDED_PARAMETER) == 0x18 && sizeof(POOL_CREATE_EXTENDED_PARAMS) == 0x10);
C_ASSERT(offsetof(POOL_EXTENDED_PARAMS_SECURE_POOL, Cookie) == 0x10 &&
         offsetof(POOL_EXTENDED_PARAMS_SECURE_POOL, SecurePoolFlags) == 0x18);
/* Whether the kernel zeroes by itself. Reserved for the system. Page: SYSTEM_POOL_ZEROING_INFORMATION */
typedef struct _SYSTEM_POOL_ZEROING_INFORMATION {
    BOOLEAN PoolZeroingSupportPresent;
} SYSTEM_POOL_ZEROING_INFORMATION, *PSYSTEM_POOL_ZEROING_INFORMATION;
#define POOL_TAGGING 1
#ifndef PROTECTED_POOL
#define PROTECTED_POOL 0x80000000 /* OR-ed into a tag: the block can be freed only with the tag */
#endif

EXTERN_C_START

/* ---- pool: allocation ----
 * Every routine: IRQL <= DISPATCH_LEVEL, paged pool <= APC_LEVEL; above is bug check 0xC2/0x08 (IRQL, pool
 * type, bytes). Sizes are bytes. NULL when memory, the region's address space or its limit is used up, unless
 * the form raises. */

/* Zeroed memory (POOL_FLAG_UNINITIALIZED: not zeroed) with a tag. Exactly one of POOL_FLAG_NON_PAGED,
 * POOL_FLAG_NON_PAGED_EXECUTE and POOL_FLAG_PAGED. NULL for 0 bytes, tag 0, no or several pools, and an
 * unknown flag of the lower 32 (required) bits; unknown flags of the upper 32 (optional) bits are ignored.
 * POOL_FLAG_SPECIAL_POOL is special pool, or the normal pool where that cannot be used (docs/VERIFIER.md).
 * POOL_FLAG_RAISE_ON_FAILURE raises instead: STATUS_INVALID_PARAMETER for bad arguments,
 * STATUS_INSUFFICIENT_RESOURCES, or the quota's status. POOL_FLAG_USE_QUOTA charges the current process for
 * blocks below PAGE_SIZE. Freed with ExFreePool, ExFreePoolWithTag or ExFreePool2. Page: ExAllocatePool2 */
_Must_inspect_result_
NTKERNELAPI PVOID ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag);
/* ExAllocatePool2 with extended parameters: a priority (PoolExtendedParameterPriority), a NUMA node
 * (PoolExtendedParameterNumaNode; with POOL_FLAG_NON_PAGED only; it fails if that node has no room, but prefers it
 * with MM_ANY_NODE_OK), a secure pool (PoolExtendedParameterSecurePool; with POOL_FLAG_NON_PAGED, without POOL_FLAG_USE_QUOTA: its handle,
 * the block's contents for good or NULL for zeroes, a cookie that names the block, SECURE_POOL_FLAGS_xxx). An unknown,
 * unsuitable or unsupported parameter fails the call unless its Optional bit is set. Page: ExAllocatePool3 */
_Must_inspect_result_
NTKERNELAPI PVOID ExAllocatePool3(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag,
                                  PCPOOL_EXTENDED_PARAMETER ExtendedParameters, ULONG ExtendedParametersCount);
/* Memory with a tag, contents undefined (zero with POOL_ZERO_ALLOCATION). POOL_RAISE_IF_ALLOCATION_FAILURE
 * raises STATUS_INSUFFICIENT_RESOURCES. 0 bytes yield a block. Must-succeed types are bug check 0xC2/0x9A
 * (type, bytes, tag). With pool tracking (verifier), tag 0 is 0xC2/0x9B, "BIG" 0xC2/0x9C, a tag without
 * letter or digit 0xC2/0x9D. Page: ExAllocatePoolWithTag */
_Must_inspect_result_
NTKERNELAPI PVOID ExAllocatePoolWithTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag);
/* ExAllocatePoolWithTag with a priority: Low fails when memory is fairly low, Normal when it is very low,
 * High only when it is exhausted. The special pool variants only choose where a special pool block lies.
 * Page: ExAllocatePoolWithTagPriority */
_Must_inspect_result_
NTKERNELAPI PVOID ExAllocatePoolWithTagPriority(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag, EX_POOL_PRIORITY Priority);
/* ExAllocatePoolWithTag that charges the quota of the current process for blocks below PAGE_SIZE, and raises
 * STATUS_INSUFFICIENT_RESOURCES or STATUS_QUOTA_EXCEEDED when it fails; POOL_QUOTA_FAIL_INSTEAD_OF_RAISE in
 * the type gives NULL. Page: ExAllocatePoolWithQuotaTag */
_Must_inspect_result_
NTKERNELAPI PVOID ExAllocatePoolWithQuotaTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag);
/* The untagged forms: the tag is "None" in binary drivers, "Wdm " in source ones (see the macros below).
 * Pages: ExAllocatePool, ExAllocatePoolWithQuota */
NTKERNELAPI PVOID ExAllocatePool(POOL_TYPE PoolType, SIZE_T NumberOfBytes);
NTKERNELAPI PVOID ExAllocatePoolWithQuota(POOL_TYPE PoolType, SIZE_T NumberOfBytes);

/* ---- pool: free ----
 * P is the exact start of a live block of any of the routines above. Anything else is a bug check, always:
 * 0xC2/0x07 a block that is free already; 0x46, 0x41286 inside a block; 0x44, 0x50 never allocated; 0x40 a
 * user address; 0x42 no pool at all. IRQL <= DISPATCH_LEVEL, for paged pool <= APC_LEVEL: above is 0xC2/0x09
 * (IRQL, pool type, address). */

/* Page: ExFreePool */
NTKERNELAPI VOID ExFreePool(PVOID P);
/* Tag: what the block was allocated with, else bug check 0xC2/0x0A (address, its tag, the one given); 0 is
 * not checked, unless the block's tag is protected. Page: ExFreePoolWithTag */
NTKERNELAPI VOID ExFreePoolWithTag(PVOID P, ULONG Tag);
/* An ordinary block: ExtendedParameters NULL and count 0. A block of a secure pool: exactly one parameter of type
 * PoolExtendedParameterSecurePool with the pool's handle and the block's cookie, Buffer NULL and SecurePoolFlags 0; the block was
 * allocated with SECURE_POOL_FLAGS_FREEABLE. Any mistake is bug check 0xC2/0x99 (address), another tag 0xC2/0x0A. Page:
 * ExFreePool2 */
NTKERNELAPI VOID ExFreePool2(PVOID P, ULONG Tag, PCPOOL_EXTENDED_PARAMETER ExtendedParameters, ULONG ExtendedParametersCount);

/* ---- secure pools: blocks that are read-only (a write is bug check 0xBE) and changed by ExSecurePoolUpdate alone ---- */
/* Makes a pool. Flags: exactly one of POOL_CREATE_FLG_SECURE_POOL, POOL_CREATE_FLG_PAGED_POOL and POOL_CREATE_FLG_NONPAGED_POOL, and
 * POOL_CREATE_FLG_USE_GLOBAL_POOL, which changes nothing here. Params: for a secure pool NULL or no parameters; for the other two one
 * parameter, the pool's name, not empty and unlike those of the pools there are, whatever its case. No documented routine allocates from
 * those two. STATUS_INVALID_PARAMETER_1: no, several or another pool type; STATUS_INVALID_PARAMETER: a bad Version;
 * STATUS_INVALID_PARAMETER_3: a name that is missing, empty, given twice or not permitted, or another type of parameter;
 * STATUS_OBJECT_NAME_COLLISION: a name that is taken; STATUS_INSUFFICIENT_RESOURCES. PASSIVE_LEVEL. Page: ExCreatePool */
_Must_inspect_result_
NTKERNELAPI NTSTATUS ExCreatePool(ULONG Flags, ULONG_PTR Tag, POOL_CREATE_EXTENDED_PARAMS *Params, HANDLE *PoolHandle);
/* Every block of the pool must have been freed, and the handle be a pool's: else bug check 0xC2/0x99 (handle). PASSIVE_LEVEL.
 * Page: ExDestroyPool */
NTKERNELAPI VOID ExDestroyPool(HANDLE PoolHandle);
/* Writes Size bytes of Buffer over the block from Offset on. STATUS_INVALID_PARAMETER: handle, tag, address and cookie do not
 * name one block, or the range leaves it; STATUS_ACCESS_DENIED: it was allocated without SECURE_POOL_FLAGS_MODIFIABLE. Page:
 * ExSecurePoolUpdate */
NTKERNELAPI NTSTATUS ExSecurePoolUpdate(HANDLE SecurePoolHandle, ULONG Tag, PVOID Allocation, ULONG_PTR Cookie, SIZE_T Offset,
                                        SIZE_T Size, PVOID Buffer);
/* TRUE: handle, tag, address and cookie name one block. Page: ExSecurePoolValidate */
NTKERNELAPI LOGICAL ExSecurePoolValidate(HANDLE SecurePoolHandle, ULONG Tag, PVOID Allocation, ULONG_PTR Cookie);
/* The bytes of a live block that are the caller's, and whether quota was charged for it. A bad address is the
 * bug check that its free would be. Page: ExQueryPoolBlockSize */
NTKERNELAPI SIZE_T ExQueryPoolBlockSize(PVOID PoolBlock, PBOOLEAN QuotaCharged);

/* ---- pool: the raising forms of file systems: never NULL. Page: FsRtlAllocatePoolWithTag and its kin ----
 */
NTKERNELAPI PVOID FsRtlAllocatePool(POOL_TYPE PoolType, ULONG NumberOfBytes);
NTKERNELAPI PVOID FsRtlAllocatePoolWithQuota(POOL_TYPE PoolType, ULONG NumberOfBytes);
NTKERNELAPI PVOID FsRtlAllocatePoolWithTag(POOL_TYPE PoolType, ULONG NumberOfBytes, ULONG Tag);
NTKERNELAPI PVOID FsRtlAllocatePoolWithQuotaTag(POOL_TYPE PoolType, ULONG NumberOfBytes, ULONG Tag);

/* Nonpaged pool for plug-ins of the error handler (pshed.dll); NULL without memory. IRQL <= DISPATCH_LEVEL.
 * Pages: PshedAllocateMemory, PshedFreeMemory */
NTKERNELAPI PVOID PshedAllocateMemory(ULONG Size);
NTKERNELAPI VOID PshedFreeMemory(PVOID Address);

/* ---- pool: inline forms ---- */
/* This kernel zeroes by itself (POOL_ZERO_ALLOCATION). */
NTKERNELAPI extern const BOOLEAN ExPoolZeroingNativelySupported;
#define DrvRtPoolNxOptIn 0x00000001
/* Called once by DriverEntry. With POOL_NX_OPTIN and DrvRtPoolNxOptIn, NonPagedPool is no-execute pool from now on, and
 * ExDefaultMdlProtection is MdlMappingNoExecute. Zeroing is native, so nothing else is to be done. Page: ExInitializeDriverRuntime */
FORCEINLINE VOID ExInitializeDriverRuntime(ULONG RuntimeFlags)
{
#if defined(POOL_NX_OPTIN) && POOL_NX_OPTIN && !defined(NTMM_NX_ALWAYS)
    if (RuntimeFlags & DrvRtPoolNxOptIn) {
        ExDefaultNonPagedPoolType = NonPagedPoolNx;
        ExDefaultMdlProtection = 0x40000000; /* MdlMappingNoExecute */
    }
#endif
    UNREFERENCED_PARAMETER(RuntimeFlags);
}
/* Page: ExAllocatePoolZero */
_Must_inspect_result_
FORCEINLINE PVOID ExAllocatePoolZero(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    return ExAllocatePoolWithTag((POOL_TYPE)(PoolType | POOL_ZERO_ALLOCATION), NumberOfBytes, Tag);
}
/* Page: ExAllocatePoolUninitialized */
_Must_inspect_result_
FORCEINLINE PVOID ExAllocatePoolUninitialized(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    return ExAllocatePoolWithTag(PoolType, NumberOfBytes, Tag);
}
/* Page: ExAllocatePoolQuotaZero */
_Must_inspect_result_
FORCEINLINE PVOID ExAllocatePoolQuotaZero(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    return ExAllocatePoolWithQuotaTag((POOL_TYPE)(PoolType | POOL_ZERO_ALLOCATION), NumberOfBytes, Tag);
}
/* Page: ExAllocatePoolQuotaUninitialized */
_Must_inspect_result_
FORCEINLINE PVOID ExAllocatePoolQuotaUninitialized(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    return ExAllocatePoolWithQuotaTag(PoolType, NumberOfBytes, Tag);
}
/* Page: ExAllocatePoolPriorityZero */
_Must_inspect_result_
FORCEINLINE PVOID ExAllocatePoolPriorityZero(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag, EX_POOL_PRIORITY Priority)
{
    return ExAllocatePoolWithTagPriority((POOL_TYPE)(PoolType | POOL_ZERO_ALLOCATION), NumberOfBytes, Tag, Priority);
}
/* Page: ExAllocatePoolPriorityUninitialized */
_Must_inspect_result_
FORCEINLINE PVOID ExAllocatePoolPriorityUninitialized(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag,
                                                      EX_POOL_PRIORITY Priority)
{
    return ExAllocatePoolWithTagPriority(PoolType, NumberOfBytes, Tag, Priority);
}
/* With pool tagging, which every current kit turns on, source drivers get the tagged forms. */
#define ExAllocatePool(PoolType, Size)          ExAllocatePoolWithTag(PoolType, Size, 0x206d6457)
#define ExAllocatePoolWithQuota(PoolType, Size) ExAllocatePoolWithQuotaTag(PoolType, Size, 0x206d6457)
#define ExFreePool(P)                           ExFreePoolWithTag(P, 0)

EXTERN_C_END

/* ---- S-lists ---- */
typedef struct DECLSPEC_ALIGN(16) _SLIST_ENTRY {
    struct _SLIST_ENTRY *Next;
} SLIST_ENTRY, *PSLIST_ENTRY;
typedef union DECLSPEC_ALIGN(16) _SLIST_HEADER {
    struct {
        ULONGLONG Alignment;
        ULONGLONG Region;
    };
    struct {
        ULONGLONG Depth : 16;
        ULONGLONG Sequence : 48;
        ULONGLONG Reserved : 4;
        ULONGLONG NextEntry : 60; /* the address's upper 60 bits */
    } HeaderX64;
} SLIST_HEADER, *PSLIST_HEADER;
C_ASSERT(sizeof(SLIST_HEADER) == 0x10 && sizeof(SLIST_ENTRY) == 0x10);

/* ---- lookaside lists ---- */
typedef struct _LOOKASIDE_LIST_EX LOOKASIDE_LIST_EX, *PLOOKASIDE_LIST_EX;
typedef PVOID ALLOCATE_FUNCTION(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag);
typedef ALLOCATE_FUNCTION *PALLOCATE_FUNCTION;
typedef PVOID ALLOCATE_FUNCTION_EX(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag, PLOOKASIDE_LIST_EX Lookaside);
typedef ALLOCATE_FUNCTION_EX *PALLOCATE_FUNCTION_EX;
typedef VOID FREE_FUNCTION(PVOID Buffer);
typedef FREE_FUNCTION *PFREE_FUNCTION;
typedef VOID FREE_FUNCTION_EX(PVOID Buffer, PLOOKASIDE_LIST_EX Lookaside);
typedef FREE_FUNCTION_EX *PFREE_FUNCTION_EX;

#define EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL 0x00000001UL
#define EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE 0x00000002UL
#define EX_MAXIMUM_LOOKASIDE_DEPTH_BASE          256
#define EX_MAXIMUM_LOOKASIDE_DEPTH_LIMIT         1024
#define LOOKASIDE_MINIMUM_BLOCK_SIZE             8
#define LOOKASIDE_ALIGN                          DECLSPEC_CACHEALIGN

#define GENERAL_LOOKASIDE_LAYOUT                                                                                               \
    union {                                                                                                                    \
        SLIST_HEADER ListHead;                                                                                                 \
        SINGLE_LIST_ENTRY SingleListHead;                                                                                      \
    };                                                                                                                         \
    USHORT Depth;                                                                                                              \
    USHORT MaximumDepth;                                                                                                       \
    ULONG TotalAllocates;                                                                                                      \
    union {                                                                                                                    \
        ULONG AllocateMisses;                                                                                                  \
        ULONG AllocateHits;                                                                                                    \
    };                                                                                                                         \
    ULONG TotalFrees;                                                                                                          \
    union {                                                                                                                    \
        ULONG FreeMisses;                                                                                                      \
        ULONG FreeHits;                                                                                                        \
    };                                                                                                                         \
    POOL_TYPE Type;                                                                                                            \
    ULONG Tag;                                                                                                                 \
    ULONG Size;                                                                                                                \
    union {                                                                                                                    \
        PALLOCATE_FUNCTION_EX AllocateEx;                                                                                      \
        PALLOCATE_FUNCTION Allocate;                                                                                           \
    };                                                                                                                         \
    union {                                                                                                                    \
        PFREE_FUNCTION_EX FreeEx;                                                                                              \
        PFREE_FUNCTION Free;                                                                                                   \
    };                                                                                                                         \
    LIST_ENTRY ListEntry;                                                                                                      \
    ULONG LastTotalAllocates;                                                                                                  \
    union {                                                                                                                    \
        ULONG LastAllocateMisses;                                                                                              \
        ULONG LastAllocateHits;                                                                                                \
    };                                                                                                                         \
    ULONG Future[2];

typedef struct DECLSPEC_CACHEALIGN _GENERAL_LOOKASIDE {
    GENERAL_LOOKASIDE_LAYOUT
} GENERAL_LOOKASIDE, *PGENERAL_LOOKASIDE;
typedef struct _GENERAL_LOOKASIDE_POOL {
    GENERAL_LOOKASIDE_LAYOUT
} GENERAL_LOOKASIDE_POOL, *PGENERAL_LOOKASIDE_POOL;
struct _LOOKASIDE_LIST_EX {
    GENERAL_LOOKASIDE_POOL L;
};
typedef struct _NPAGED_LOOKASIDE_LIST {
    GENERAL_LOOKASIDE L;
} NPAGED_LOOKASIDE_LIST, *PNPAGED_LOOKASIDE_LIST;
typedef struct _PAGED_LOOKASIDE_LIST {
    GENERAL_LOOKASIDE L;
} PAGED_LOOKASIDE_LIST, *PPAGED_LOOKASIDE_LIST;
C_ASSERT(sizeof(GENERAL_LOOKASIDE) == 0x80 && sizeof(LOOKASIDE_LIST_EX) == 0x60);
C_ASSERT(offsetof(GENERAL_LOOKASIDE, Depth) == 0x10 && offsetof(GENERAL_LOOKASIDE, Type) == 0x24 &&
         offsetof(GENERAL_LOOKASIDE, Allocate) == 0x30 && offsetof(GENERAL_LOOKASIDE, ListEntry) == 0x40);

EXTERN_C_START
/* ---- S-lists: interlocked singly linked lists ----
 * The header and every entry are aligned to 16 bytes (a misaligned header raises
 * STATUS_DATATYPE_MISALIGNMENT). Any IRQL; header and entries are nonpaged where used at DISPATCH_LEVEL and
 * above. The depth counter has 16 bits and wraps. A pop may read the Next field of an entry that another
 * thread has just popped; the entry's memory may be gone by then. */

/* Empties the header. Pages: InitializeSListHead, ExInitializeSListHead */
NTKERNELAPI VOID InitializeSListHead(PSLIST_HEADER SListHead);
/* Adds, or removes and returns, the first entry; returns the previous first one, or NULL. Pages:
 * ExInterlockedPushEntrySList, ExInterlockedPopEntrySList */
NTKERNELAPI PSLIST_ENTRY ExpInterlockedPushEntrySList(PSLIST_HEADER ListHead, PSLIST_ENTRY ListEntry);
NTKERNELAPI PSLIST_ENTRY ExpInterlockedPopEntrySList(PSLIST_HEADER ListHead);
/* Detaches all entries and returns the first. Page: ExInterlockedFlushSList */
NTKERNELAPI PSLIST_ENTRY ExpInterlockedFlushSList(PSLIST_HEADER ListHead);
/* The depth counter, a snapshot. Page: ExQueryDepthSList */
NTKERNELAPI USHORT ExQueryDepthSList(PSLIST_HEADER SListHead);
/* The first entry, left where it is. Page: FirstEntrySList */
NTKERNELAPI PSLIST_ENTRY FirstEntrySList(const SLIST_HEADER *SListHead);
/* Adds the chain from List to ListEnd, of Count entries, in one step; returns the previous first entry, or NULL. */
NTKERNELAPI PSLIST_ENTRY InterlockedPushListSList(PSLIST_HEADER ListHead, PSLIST_ENTRY List, PSLIST_ENTRY ListEnd, ULONG Count);
/* The same lists by the names that user mode has. */
NTSYSAPI VOID RtlInitializeSListHead(PSLIST_HEADER ListHead);
NTSYSAPI PSLIST_ENTRY RtlFirstEntrySList(const SLIST_HEADER *ListHead);
NTSYSAPI PSLIST_ENTRY RtlInterlockedPopEntrySList(PSLIST_HEADER ListHead);
NTSYSAPI PSLIST_ENTRY RtlInterlockedPushEntrySList(PSLIST_HEADER ListHead, PSLIST_ENTRY ListEntry);
NTSYSAPI PSLIST_ENTRY RtlInterlockedPushListSListEx(PSLIST_HEADER ListHead, PSLIST_ENTRY List, PSLIST_ENTRY ListEnd,
                                                    ULONG Count);
NTSYSAPI PSLIST_ENTRY RtlInterlockedFlushSList(PSLIST_HEADER ListHead);
NTSYSAPI USHORT RtlQueryDepthSList(PSLIST_HEADER ListHead);
#define ExInitializeSListHead                          InitializeSListHead
#define ExInterlockedPushEntrySList(Head, Entry, Lock) ExpInterlockedPushEntrySList(Head, Entry)
#define ExInterlockedPopEntrySList(Head, Lock)         ExpInterlockedPopEntrySList(Head)
#define ExInterlockedFlushSList(Head)                  ExpInterlockedFlushSList(Head)

/* wdm.h's names for the same where winbase.h does not declare functions of these names. */
#ifndef _WINBASE_
#define InterlockedPushEntrySList(Head, Entry) ExpInterlockedPushEntrySList(Head, Entry)
#define InterlockedPopEntrySList(Head)         ExpInterlockedPopEntrySList(Head)
#define InterlockedFlushSList(Head)            ExpInterlockedFlushSList(Head)
#define QueryDepthSList(Head)                  ExQueryDepthSList(Head)
#endif

/* ---- lookaside lists ----
 * A cache of free entries of one size: last in, first out; entries keep what their last user left in them.
 * The head is the caller's, nonpaged and 16-byte aligned. The number of entries a list keeps (Depth) is
 * adjusted to its use by the system. Allocate is called when the list is empty, Free when it is full; neither
 * is serialised. */

/* Prepares a list of nonpaged entries of Size bytes (at least LOOKASIDE_MINIMUM_BLOCK_SIZE). Allocate and
 * Free NULL: ExAllocatePoolWithTag and ExFreePool. Flags: 0, POOL_RAISE_IF_ALLOCATION_FAILURE,
 * POOL_NX_ALLOCATION. Depth is 0. Allocates nothing. IRQL <= DISPATCH_LEVEL. Page:
 * ExInitializeNPagedLookasideList */
NTKERNELAPI VOID ExInitializeNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside, PALLOCATE_FUNCTION Allocate,
                                                 PFREE_FUNCTION Free, ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth);
/* The same for paged entries; the head is nonpaged all the same. IRQL <= APC_LEVEL. Page:
 * ExInitializePagedLookasideList */
NTKERNELAPI VOID ExInitializePagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside, PALLOCATE_FUNCTION Allocate,
                                                PFREE_FUNCTION Free, ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth);
/* Frees the entries the list holds; those that callers hold stay theirs. IRQL <= DISPATCH_LEVEL / APC_LEVEL.
 * Pages: ExDeleteNPagedLookasideList, ExDeletePagedLookasideList */
NTKERNELAPI VOID ExDeleteNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside);
NTKERNELAPI VOID ExDeletePagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside);
/* The first entry, or a new one; NULL when there is no memory. Pages: ExAllocateFromNPagedLookasideList,
 * ExAllocateFromPagedLookasideList */
NTKERNELAPI PVOID ExAllocateFromNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside);
NTKERNELAPI PVOID ExAllocateFromPagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside);
/* Gives an entry of this list back. Pages: ExFreeToNPagedLookasideList, ExFreeToPagedLookasideList */
NTKERNELAPI VOID ExFreeToNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside, PVOID Entry);
NTKERNELAPI VOID ExFreeToPagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside, PVOID Entry);

/* A list of either pool whose Allocate and Free routines (pages LookasideListAllocateEx, LookasideListFreeEx) are told it. Flags: 0,
 * EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL (Allocate gets POOL_RAISE_IF_ALLOCATION_FAILURE) or
 * EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE (POOL_QUOTA_FAIL_INSTEAD_OF_RAISE; with an Allocate routine of the
 * caller's only), not both. STATUS_INVALID_PARAMETER_4 for a bad pool type, STATUS_INVALID_PARAMETER_5 for
 * bad flags. IRQL <= DISPATCH_LEVEL. Page: ExInitializeLookasideListEx */
_Must_inspect_result_
NTKERNELAPI NTSTATUS ExInitializeLookasideListEx(PLOOKASIDE_LIST_EX Lookaside, PALLOCATE_FUNCTION_EX Allocate,
                                                 PFREE_FUNCTION_EX Free, POOL_TYPE PoolType, ULONG Flags, SIZE_T Size,
                                                 ULONG Tag, USHORT Depth);
/* Page: ExDeleteLookasideListEx */
NTKERNELAPI VOID ExDeleteLookasideListEx(PLOOKASIDE_LIST_EX Lookaside);
/* Frees every entry the list holds; it stays in use. Page: ExFlushLookasideListEx */
NTKERNELAPI VOID ExFlushLookasideListEx(PLOOKASIDE_LIST_EX Lookaside);
/* Page: ExAllocateFromLookasideListEx */
NTKERNELAPI PVOID ExAllocateFromLookasideListEx(PLOOKASIDE_LIST_EX Lookaside);
/* Page: ExFreeToLookasideListEx */
NTKERNELAPI VOID ExFreeToLookasideListEx(PLOOKASIDE_LIST_EX Lookaside, PVOID Entry);
/* Adjusts every list's depth to its use since the last call; the system does so every second. */
NTKERNELAPI VOID ExAdjustLookasideDepth(VOID);
EXTERN_C_END

#endif
