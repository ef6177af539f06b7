/*
 * pool_family.c - every name of the pools', lookaside lists', S-lists' and paging's headers, as a driver uses it, C and C++: it compiles, and
 * each value and layout is the kit's. Compiled alone, with each way of opting in to no-execute pool. SPDX-License-Identifier: MIT
 */
#include <ntifs.h>

#define IS(Name, Value)        C_ASSERT((ULONG64)(Name) == (ULONG64)(Value))
#define AT(Type, Field, Where) C_ASSERT(FIELD_OFFSET(Type, Field) == (Where))

/* ---- values ---- Pages: POOL_TYPE, POOL_FLAGS, EX_POOL_PRIORITY, POOL_EXTENDED_PARAMETER_TYPE */
IS(NonPagedPoolExecute, 0);
IS(PagedPool, 1);
IS(NonPagedPoolMustSucceed, 2);
IS(DontUseThisType, 3);
IS(PagedPoolCacheAligned, 5);
IS(NonPagedPoolCacheAlignedMustS, 6);
IS(MaxPoolType, 7);
IS(NonPagedPoolBase, 0);
IS(NonPagedPoolBaseMustSucceed, 2);
IS(NonPagedPoolBaseCacheAligned, 4);
IS(NonPagedPoolBaseCacheAlignedMustS, 6);
IS(NonPagedPoolSession, 32);
IS(PagedPoolSession, 33);
IS(NonPagedPoolMustSucceedSession, 34);
IS(DontUseThisTypeSession, 35);
IS(NonPagedPoolCacheAlignedSession, 36);
IS(PagedPoolCacheAlignedSession, 37);
IS(NonPagedPoolCacheAlignedMustSSession, 38);
IS(NonPagedPoolNx, 512);
IS(NonPagedPoolNxCacheAligned, 516);
IS(NonPagedPoolSessionNx, 544);
#if defined(WANT_NX) || defined(POOL_NX_OPTIN)
#ifdef WANT_NX /* POOL_NX_OPTIN_AUTO */
IS(NonPagedPool, 512);
IS(NonPagedPoolCacheAligned, 516);
#endif
#else
IS(NonPagedPool, 0);
IS(NonPagedPoolCacheAligned, 4);
#endif
IS(POOL_NX_OPTIN_AUTO, 1);
IS(POOL_QUOTA_FAIL_INSTEAD_OF_RAISE, 8);
IS(POOL_RAISE_IF_ALLOCATION_FAILURE, 16);
IS(POOL_COLD_ALLOCATION, 256);
IS(POOL_NX_ALLOCATION, 512);
IS(POOL_ZERO_ALLOCATION, 1024);
IS(POOL_FLAG_REQUIRED_START, 1);
IS(POOL_FLAG_USE_QUOTA, 1);
IS(POOL_FLAG_UNINITIALIZED, 2);
IS(POOL_FLAG_SESSION, 4);
IS(POOL_FLAG_CACHE_ALIGNED, 8);
IS(POOL_FLAG_RESERVED1, 0x10);
IS(POOL_FLAG_RAISE_ON_FAILURE, 0x20);
IS(POOL_FLAG_NON_PAGED, 0x40);
IS(POOL_FLAG_NON_PAGED_EXECUTE, 0x80);
IS(POOL_FLAG_PAGED, 0x100);
IS(POOL_FLAG_RESERVED2, 0x200);
IS(POOL_FLAG_RESERVED3, 0x400);
IS(POOL_FLAG_LAST_KNOWN_REQUIRED, 0x400);
IS(POOL_FLAG_REQUIRED_END, 0x80000000);
IS(POOL_FLAG_OPTIONAL_START, 0x100000000);
IS(POOL_FLAG_SPECIAL_POOL, 0x100000000);
IS(POOL_FLAG_OPTIONAL_END, 0x8000000000000000);
IS(LowPoolPriority, 0);
IS(LowPoolPrioritySpecialPoolOverrun, 8);
IS(LowPoolPrioritySpecialPoolUnderrun, 9);
IS(NormalPoolPriority, 16);
IS(NormalPoolPrioritySpecialPoolOverrun, 24);
IS(NormalPoolPrioritySpecialPoolUnderrun, 25);
IS(HighPoolPriority, 32);
IS(HighPoolPrioritySpecialPoolOverrun, 40);
IS(HighPoolPrioritySpecialPoolUnderrun, 41);
IS(PoolExtendedParameterInvalidType, 0);
IS(PoolExtendedParameterPriority, 1);
IS(PoolExtendedParameterSecurePool, 2);
IS(PoolExtendedParameterNumaNode, 3);
IS(PoolExtendedParameterMax, 4);
IS(POOL_EXTENDED_PARAMETER_TYPE_BITS, 8);
IS(POOL_EXTENDED_PARAMETER_REQUIRED_FIELD_BITS, 1);
IS(POOL_EXTENDED_PARAMETER_RESERVED_BITS, 55);
IS(SECURE_POOL_FLAGS_NONE, 0);
IS(SECURE_POOL_FLAGS_FREEABLE, 1);
IS(SECURE_POOL_FLAGS_MODIFIABLE, 2);
IS(POOL_CREATE_FLG_SECURE_POOL, 1);
IS(POOL_CREATE_FLG_USE_GLOBAL_POOL, 2);
IS(POOL_CREATE_PARAMS_VERSION, 1);
IS(PoolCreateExtendedParameterName, 1);
IS(MM_ANY_NODE_OK, 0x80000000);
IS(EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL, 1);
IS(EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE, 2);
IS(EX_MAXIMUM_LOOKASIDE_DEPTH_BASE, 256);
IS(EX_MAXIMUM_LOOKASIDE_DEPTH_LIMIT, 1024);
IS(LOOKASIDE_MINIMUM_BLOCK_SIZE, 8);
IS(DrvRtPoolNxOptIn, 1);
IS(POOL_TAGGING, 1);

/* ---- layouts, x64 ---- */
IS(sizeof(SLIST_HEADER), 16);
IS(sizeof(SLIST_ENTRY), 16);
IS(sizeof(LOOKASIDE_LIST_EX), 0x60);
IS(sizeof(PAGED_LOOKASIDE_LIST), 0x80);
IS(sizeof(NPAGED_LOOKASIDE_LIST), 0x80);
IS(sizeof(POOL_EXTENDED_PARAMETER), 16);
IS(sizeof(POOL_EXTENDED_PARAMS_SECURE_POOL), 32);
IS(sizeof(POOL_CREATE_EXTENDED_PARAMS), 16);
IS(sizeof(POOL_CREATE_EXTENDED_PARAMETER), 24);
IS(sizeof(SYSTEM_POOL_ZEROING_INFORMATION), 1);
IS(sizeof(ZONE_HEADER), 24);
AT(GENERAL_LOOKASIDE, ListHead, 0);
AT(GENERAL_LOOKASIDE, SingleListHead, 0);
AT(GENERAL_LOOKASIDE, Depth, 0x10);
AT(GENERAL_LOOKASIDE, MaximumDepth, 0x12);
AT(GENERAL_LOOKASIDE, TotalAllocates, 0x14);
AT(GENERAL_LOOKASIDE, AllocateMisses, 0x18);
AT(GENERAL_LOOKASIDE, AllocateHits, 0x18);
AT(GENERAL_LOOKASIDE, TotalFrees, 0x1C);
AT(GENERAL_LOOKASIDE, FreeMisses, 0x20);
AT(GENERAL_LOOKASIDE, FreeHits, 0x20);
AT(GENERAL_LOOKASIDE, Type, 0x24);
AT(GENERAL_LOOKASIDE, Tag, 0x28);
AT(GENERAL_LOOKASIDE, Size, 0x2C);
AT(GENERAL_LOOKASIDE, AllocateEx, 0x30);
AT(GENERAL_LOOKASIDE, Allocate, 0x30);
AT(GENERAL_LOOKASIDE, FreeEx, 0x38);
AT(GENERAL_LOOKASIDE, Free, 0x38);
AT(GENERAL_LOOKASIDE, ListEntry, 0x40);
AT(GENERAL_LOOKASIDE, LastTotalAllocates, 0x50);
AT(GENERAL_LOOKASIDE, LastAllocateMisses, 0x54);
AT(GENERAL_LOOKASIDE, LastAllocateHits, 0x54);
AT(GENERAL_LOOKASIDE, Future, 0x58);
AT(POOL_EXTENDED_PARAMETER, Priority, 8);
AT(POOL_EXTENDED_PARAMETER, SecurePoolParams, 8);
AT(POOL_EXTENDED_PARAMETER, PreferredNode, 8);
AT(POOL_EXTENDED_PARAMS_SECURE_POOL, Cookie, 16);
AT(POOL_CREATE_EXTENDED_PARAMETER, PoolName, 8);

/* ---- uses ---- */
#define TAG 'ymaF'
static LOOKASIDE_LIST_EX List;
static NPAGED_LOOKASIDE_LIST NonPaged;
static PAGED_LOOKASIDE_LIST Paged;
static SLIST_HEADER Head;
static SLIST_ENTRY Entry;
static KSPIN_LOCK Lock;

static ALLOCATE_FUNCTION Allocate;
static FREE_FUNCTION Free;
static ALLOCATE_FUNCTION_EX AllocateEx;
static FREE_FUNCTION_EX FreeEx;

static PVOID Allocate(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    return ExAllocatePoolWithTag(PoolType, NumberOfBytes, Tag);
}

static VOID Free(PVOID Buffer)
{
    ExFreePool(Buffer);
}

static PVOID AllocateEx(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag, PLOOKASIDE_LIST_EX Lookaside)
{
    UNREFERENCED_PARAMETER(Lookaside);
    return ExAllocatePoolWithQuotaTag(PoolType, NumberOfBytes, Tag);
}

static VOID FreeEx(PVOID Buffer, PLOOKASIDE_LIST_EX Lookaside)
{
    UNREFERENCED_PARAMETER(Lookaside);
    ExFreePoolWithTag(Buffer, 0);
}

static VOID Pools(VOID)
{
    POOL_EXTENDED_PARAMETER Parameters[3] = {};
    POOL_EXTENDED_PARAMS_SECURE_POOL Secure = {};
    PCPOOL_EXTENDED_PARAMETER First = Parameters;
    HANDLE Handle = NULL;
    BOOLEAN Charged;
    Parameters[0].Type = PoolExtendedParameterPriority;
    Parameters[0].Optional = 1;
    Parameters[0].Priority = LowPoolPriority;
    Parameters[1].Type = PoolExtendedParameterNumaNode;
    Parameters[1].PreferredNode = 0 | MM_ANY_NODE_OK;
    Parameters[2].Type = PoolExtendedParameterSecurePool;
    Parameters[2].SecurePoolParams = &Secure;
    ExInitializeDriverRuntime(DrvRtPoolNxOptIn);
    ExFreePool(ExAllocatePool(NonPagedPool, 1));
    ExFreePool(ExAllocatePool(NonPagedPoolCacheAligned, 1));
    ExFreePool(ExAllocatePoolWithQuota(PagedPool, 1));
    ExFreePoolWithTag(ExAllocatePoolWithTag((POOL_TYPE)(PagedPool | POOL_COLD_ALLOCATION), 1, TAG), TAG);
    ExFreePoolWithTag(ExAllocatePoolWithTag((POOL_TYPE)(NonPagedPool | POOL_RAISE_IF_ALLOCATION_FAILURE), 1, TAG), TAG);
    ExFreePool(ExAllocatePoolWithTagPriority(NonPagedPoolNx, 1, TAG, NormalPoolPrioritySpecialPoolUnderrun));
    ExFreePool(ExAllocatePoolWithQuotaTag((POOL_TYPE)(PagedPool | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE), 1, TAG));
    ExFreePool(ExAllocatePoolZero(NonPagedPool, 1, TAG));
    ExFreePool(ExAllocatePoolUninitialized(NonPagedPool, 1, TAG));
    ExFreePool(ExAllocatePoolQuotaZero(PagedPool, 1, TAG));
    ExFreePool(ExAllocatePoolQuotaUninitialized(PagedPool, 1, TAG));
    ExFreePool(ExAllocatePoolPriorityZero(PagedPool, 1, TAG, HighPoolPriority));
    ExFreePool(ExAllocatePoolPriorityUninitialized(PagedPool, 1, TAG, LowPoolPriority));
    ExFreePool2(ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_UNINITIALIZED | POOL_FLAG_SPECIAL_POOL, 1, TAG), TAG, NULL, 0);
    ExFreePool2(ExAllocatePool3(POOL_FLAG_NON_PAGED | POOL_FLAG_CACHE_ALIGNED, 1, TAG, First, 2), TAG, NULL, 0);
    if (NT_SUCCESS(ExCreatePool(POOL_CREATE_FLG_SECURE_POOL | POOL_CREATE_FLG_USE_GLOBAL_POOL, TAG, NULL, &Handle))) {
        Secure.SecurePoolHandle = Handle;
        Secure.Cookie = 1;
        Secure.SecurePoolFlags = SECURE_POOL_FLAGS_FREEABLE | SECURE_POOL_FLAGS_MODIFIABLE;
        (VOID) ExSecurePoolUpdate(Handle, TAG, &Secure, 1, 0, 0, NULL);
        (VOID) ExSecurePoolValidate(Handle, TAG, &Secure, 1);
        ExDestroyPool(Handle);
    }
    ExFreePool(FsRtlAllocatePool(PagedPool, 1));
    ExFreePool(FsRtlAllocatePoolWithQuota(PagedPool, 1));
    ExFreePool(FsRtlAllocatePoolWithTag(NonPagedPool, 1, TAG));
    ExFreePool(FsRtlAllocatePoolWithQuotaTag(NonPagedPool, 1, TAG));
    PshedFreeMemory(PshedAllocateMemory(1));
    (VOID) ExQueryPoolBlockSize(&Secure, &Charged);
    PsChargePoolQuota(PsGetCurrentProcess(), PagedPool, 1);
    PsReturnPoolQuota(PsGetCurrentProcess(), PagedPool, 1);
    (VOID) PsChargeProcessPoolQuota(PsGetCurrentProcess(), NonPagedPoolNx, 1);
    (VOID) PsChargeProcessPagedPoolQuota(PsGetCurrentProcess(), 1);
    PsReturnProcessPagedPoolQuota(PsGetCurrentProcess(), 1);
    (VOID) PsChargeProcessNonPagedPoolQuota(PsGetCurrentProcess(), 1);
    PsReturnProcessNonPagedPoolQuota(PsGetCurrentProcess(), 1);
}

static VOID Lists(VOID)
{
    PSLIST_ENTRY Popped;
    PVOID Block;
    InitializeSListHead(&Head);
    ExInitializeSListHead(&Head);
    (VOID) ExInterlockedPushEntrySList(&Head, &Entry, &Lock);
    Popped = ExInterlockedPopEntrySList(&Head, NULL);
    Popped = InterlockedPushEntrySList(&Head, Popped);
    Popped = InterlockedPushListSList(&Head, Popped, Popped, 1);
    Popped = InterlockedPopEntrySList(&Head);
    Popped = FirstEntrySList(&Head);
    Popped = InterlockedFlushSList(&Head);
    Popped = ExInterlockedFlushSList(&Head);
    Popped = RtlFirstEntrySList(&Head);
    (VOID) Popped;
    (VOID)(QueryDepthSList(&Head) + ExQueryDepthSList(&Head) + RtlQueryDepthSList(&Head));
    (VOID)(Head.HeaderX64.Depth + Head.HeaderX64.Sequence + Head.HeaderX64.NextEntry);

    ExInitializeNPagedLookasideList(&NonPaged, NULL, NULL, POOL_NX_ALLOCATION, 64, TAG, 0);
    ExInitializePagedLookasideList(&Paged, Allocate, Free, POOL_RAISE_IF_ALLOCATION_FAILURE, 64, TAG, 0);
    if (!NT_SUCCESS(ExInitializeLookasideListEx(&List, AllocateEx, FreeEx, NonPagedPoolNx,
                                                EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE, 64, TAG, 0)))
        return;
    Block = ExAllocateFromNPagedLookasideList(&NonPaged);
    ExFreeToNPagedLookasideList(&NonPaged, Block);
    Block = ExAllocateFromPagedLookasideList(&Paged);
    ExFreeToPagedLookasideList(&Paged, Block);
    Block = ExAllocateFromLookasideListEx(&List);
    ExFreeToLookasideListEx(&List, Block);
    ExFlushLookasideListEx(&List);
    ExDeleteLookasideListEx(&List);
    ExDeletePagedLookasideList(&Paged);
    ExDeleteNPagedLookasideList(&NonPaged);
    (VOID)(NonPaged.L.Depth + Paged.L.TotalAllocates + List.L.AllocateMisses);
}

static VOID Zones(PVOID Segment, ULONG Size)
{
    ZONE_HEADER Zone;
    PVOID Block;
    if (!NT_SUCCESS(ExInitializeZone(&Zone, 32, Segment, Size)) || ExIsFullZone(&Zone))
        return;
    Block = ExAllocateFromZone(&Zone);
    if (ExIsObjectInFirstZoneSegment(&Zone, Block))
        (VOID) ExFreeToZone(&Zone, Block);
    Block = ExInterlockedAllocateFromZone(&Zone, &Lock);
    (VOID) ExInterlockedFreeToZone(&Zone, Block, &Lock);
    (VOID) ExExtendZone(&Zone, Segment, Size);
    (VOID) ExInterlockedExtendZone(&Zone, Segment, Size, &Lock);
}

static VOID Paging(PDRIVER_OBJECT DriverObject)
{
    PVOID Handle = MmLockPagableCodeSection((PVOID)(ULONG_PTR)Zones);
    MmUnlockPagableImageSection(Handle);
    MmLockPagableSectionByHandle(Handle);
    MmUnlockPagableImageSection(Handle);
    Handle = MmLockPagableDataSection(&List);
    MmUnlockPagableImageSection(Handle);
    Handle = MmPageEntireDriver((PVOID)(ULONG_PTR)DriverObject->DriverInit);
    MmResetDriverPaging(Handle);
    PAGED_CODE();
    PAGED_CODE_LOCKED();
    (VOID) MmTrimAllSystemPagableMemory(0);
    (VOID) MmTrimAllSystemPageableMemory(0);
    (VOID) MmAdjustWorkingSetSize(0x10000, 0x20000, 0, FALSE);
    (VOID) MmQuerySystemSize();
    (VOID) MmIsThisAnNtAsSystem();
}

static VOID CreateParameters(VOID)
{
    static const GUID Type = {1, 2, 3, {4, 5, 6, 7, 8, 9, 10, 11}};
    PECP_LIST EcpList = NULL;
    PVOID Context = NULL;
    ULONG Size;
    FsRtlInitExtraCreateParameterLookasideList(&Paged, 0, 64, TAG);
    if (!NT_SUCCESS(FsRtlAllocateExtraCreateParameterList(FSRTL_ALLOCATE_ECPLIST_FLAG_CHARGE_QUOTA, &EcpList)))
        return;
    if (NT_SUCCESS(FsRtlAllocateExtraCreateParameterFromLookasideList(&Type, 64, 0, NULL, &Paged, &Context)))
        FsRtlFreeExtraCreateParameter(Context);
    if (NT_SUCCESS(FsRtlAllocateExtraCreateParameter(&Type, 8, FSRTL_ALLOCATE_ECP_FLAG_NONPAGED_POOL, NULL, TAG, &Context)) &&
        NT_SUCCESS(FsRtlInsertExtraCreateParameter(EcpList, Context)) &&
        NT_SUCCESS(FsRtlFindExtraCreateParameter(EcpList, &Type, &Context, &Size)))
        FsRtlAcknowledgeEcp(Context);
    FsRtlFreeExtraCreateParameterList(EcpList);
    FsRtlDeleteExtraCreateParameterLookasideList(&Paged, 0);
}

EXTERN_C DRIVER_INITIALIZE DriverEntry;
EXTERN_C NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    static DECLSPEC_ALIGN(16) UCHAR Segment[256];
    LONGLONG Value = 0, Exchange = 1, Comperand = 2;
    UNREFERENCED_PARAMETER(RegistryPath);
    Pools();
    Lists();
    Zones(Segment, sizeof(Segment));
    Paging(DriverObject);
    CreateParameters();
    (VOID) ExInterlockedCompareExchange64(&Value, &Exchange, &Comperand, &Lock);
    (VOID) ExInterlockedExchangeAddLargeInteger(&Value, 1, &Lock);
    return STATUS_SUCCESS;
}
