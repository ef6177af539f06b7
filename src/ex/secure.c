/*
 * secure.c - secure pools: memory that the kernel itself cannot write once it is filled. SPDX-License-Identifier: MIT
 *
 * Implements ExCreatePool, ExDestroyPool, ExSecurePoolUpdate and ExSecurePoolValidate, and the secure side of
 * ExAllocatePool3 and ExFreePool2. On Windows the secure kernel owns these pages; here they are pages of the nonpaged pool's
 * region that are mapped read-only, and this file writes them through their frames. A driver that writes to one makes
 * bug check 0xBE.
 *
 *    ExpSecurePools --> SECURE_POOL { Handle, Tag, Blocks } --> SECURE_POOL ...
 *                            ^
 *    ExpSecureBlocks[hash of the address] --> SECURE_BLOCK { Pool, Address, Size, Tag, Cookie, Flags } --> ...
 *
 * A block is identified by all of: address, the pool's handle, tag, cookie. It has pages of its own. Its contents are the
 * buffer given when it is allocated (zero without one), and change through ExSecurePoolUpdate only, if it was allocated with
 * SECURE_POOL_FLAGS_MODIFIABLE; it is freed only if with SECURE_POOL_FLAGS_FREEABLE. A pool that holds such a block for ever
 * cannot be destroyed.
 *
 * Handles are numbers that are never used again, so that a stale one is known for what it is.
 *
 * Private paged and nonpaged pools have a name, which no two of them share, and no blocks: ExAllocatePool2, by which their page says that
 * "pool allocation is done", takes no handle. The values of their flags are ours, as no public kit declares them.
 *
 * Invariants: 1. Pool->Blocks is the number of blocks in the table that name the pool; 2. a block's pages are read-only while
 * it is in the table; 3. a block with Busy > 0 is in the table.
 *
 * SecureLock (leaf) guards all of it, and is not held while bytes move: an update holds its block by Busy. IRQL: the pools'
 * life PASSIVE_LEVEL, the blocks' <= DISPATCH_LEVEL. Watch: tests/ddi/ExCreatePool.c, tests/misuse/pool_secure.c.
 */
#include "ex/exp.h"

NTKERNELAPI DECLSPEC_NORETURN VOID ExRaiseStatus(NTSTATUS Status);

#define SECURE_BUCKETS     64u
#define CREATE_TYPES       (POOL_CREATE_FLG_SECURE_POOL | POOL_CREATE_FLG_PAGED_POOL | POOL_CREATE_FLG_NONPAGED_POOL)
#define NAME_TAG           'NlpE'
#define SECURE_FLAGS_KNOWN (SECURE_POOL_FLAGS_FREEABLE | SECURE_POOL_FLAGS_MODIFIABLE)

typedef struct _SECURE_POOL {
    struct _SECURE_POOL *Next;
    HANDLE Handle;
    ULONG_PTR Tag;
    ULONG64 Blocks;
    UNICODE_STRING Name; /* of a private pool, a copy; a secure one has none */
} SECURE_POOL;

typedef struct _SECURE_BLOCK {
    struct _SECURE_BLOCK *Next;
    SECURE_POOL *Pool;
    PVOID Address;
    SIZE_T Size;
    ULONG_PTR Cookie;
    ULONG Tag, Flags, Slot;
    ULONG Busy; /* updates in progress */
} SECURE_BLOCK;

static KI_LOCK SecureLock;
static SECURE_POOL *ExpSecurePools;
static SECURE_BLOCK *ExpSecureBlocks[SECURE_BUCKETS];
static ULONG_PTR ExpLastHandle;
static volatile ULONG64 ExpSecureCount;

VOID ExpResetSecurePools(VOID)
{
    ExpSecurePools = NULL;
    memset(ExpSecureBlocks, 0, sizeof(ExpSecureBlocks));
    ExpSecureCount = 0;
}

static SECURE_POOL *ExpFindSecurePoolLocked(HANDLE Handle)
{
    SECURE_POOL *Pool = ExpSecurePools;
    while (Pool != NULL && Pool->Handle != Handle)
        Pool = Pool->Next;
    return Pool;
}

static SECURE_BLOCK **ExpSecureBucket(const VOID *Address)
{
    return &ExpSecureBlocks[((ULONG_PTR)Address >> PAGE_SHIFT) * 0x9E3779B97F4A7C15ull >> 58];
}

static SECURE_BLOCK *ExpFindSecureBlockLocked(const VOID *Address)
{
    SECURE_BLOCK *Block = *ExpSecureBucket(Address);
    while (Block != NULL && Block->Address != Address)
        Block = Block->Next;
    return Block;
}

/* The block, if all four name it. */
static SECURE_BLOCK *ExpIdentifySecureLocked(HANDLE Handle, ULONG Tag, const VOID *Address, ULONG_PTR Cookie)
{
    SECURE_BLOCK *Block = ExpFindSecureBlockLocked(Address);
    return Block != NULL && Block->Pool->Handle == Handle && Block->Tag == Tag && Block->Cookie == Cookie ? Block : NULL;
}

static SIZE_T ExpSecurePages(SIZE_T Size)
{
    return (Size + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

BOOLEAN ExpIsSecureBlock(const VOID *Address)
{
    BOOLEAN Found = FALSE;
    if (__atomic_load_n(&ExpSecureCount, __ATOMIC_RELAXED) == 0)
        return FALSE;
    KiAcquireLock(&SecureLock);
    for (ULONG Bucket = 0; Bucket < SECURE_BUCKETS && !Found; Bucket++)
        for (const SECURE_BLOCK *Block = ExpSecureBlocks[Bucket]; Block != NULL && !Found; Block = Block->Next)
            Found = (ULONG_PTR)Address - (ULONG_PTR)Block->Address < ExpSecurePages(Block->Size) << PAGE_SHIFT;
    KiReleaseLock(&SecureLock);
    return Found;
}

VOID ExpEnumerateSecure(VOID (*Visit)(ULONG Slot, SIZE_T Size, PVOID Context), PVOID Context)
{
    KiAcquireLock(&SecureLock);
    for (ULONG Bucket = 0; Bucket < SECURE_BUCKETS; Bucket++)
        for (const SECURE_BLOCK *Block = ExpSecureBlocks[Bucket]; Block != NULL; Block = Block->Next)
            Visit(Block->Slot, Block->Size, Context);
    KiReleaseLock(&SecureLock);
}

static VOID ExpCheckPassive(const CHAR *Words)
{
    KIRQL Irql = KiCurrentThread()->Irql;
    if (Irql > PASSIVE_LEVEL)
        KiStop(0xC4, Words, NULL, 0xE5, Irql, 0, 0);
}

/* ---- pools ---- */
/* The one name that a private pool must have; NULL: not exactly one, or something else. */
static const UNICODE_STRING *ExpFindPoolName(const POOL_CREATE_EXTENDED_PARAMS *Params)
{
    if (Params == NULL || Params->ParameterCount != 1 || Params->Parameters == NULL ||
        Params->Parameters->Type != PoolCreateExtendedParameterName || Params->Parameters->PoolName.Length == 0 ||
        Params->Parameters->PoolName.Buffer == NULL)
        return NULL;
    return &Params->Parameters->PoolName;
}

static VOID ExpFreeSecurePool(SECURE_POOL *Pool)
{
    if (Pool->Name.Buffer != NULL)
        ExFreePoolWithTag(Pool->Name.Buffer, NAME_TAG);
    ExpMetaFree(ExpMetaOther, Pool, sizeof(*Pool));
}

/* A pool that nobody knows yet; NULL: no memory. */
static SECURE_POOL *ExpMakeSecurePool(ULONG_PTR Tag, const UNICODE_STRING *Name)
{
    SECURE_POOL *Pool = ExpMetaAllocate(ExpMetaOther, sizeof(*Pool));
    if (Pool == NULL)
        return NULL;
    Pool->Tag = Tag;
    Pool->Blocks = 0;
    memset(&Pool->Name, 0, sizeof(Pool->Name));
    if (Name != NULL) {
        Pool->Name.Length = Pool->Name.MaximumLength = Name->Length;
        Pool->Name.Buffer = ExAllocatePoolWithTag(NonPagedPoolNx, Name->Length, NAME_TAG);
        if (Pool->Name.Buffer == NULL) {
            ExpFreeSecurePool(Pool);
            return NULL;
        }
        memcpy(Pool->Name.Buffer, Name->Buffer, Name->Length);
    }
    return Pool;
}

NTSTATUS ExCreatePool(ULONG Flags, ULONG_PTR Tag, POOL_CREATE_EXTENDED_PARAMS *Params, HANDLE *PoolHandle)
{
    const ULONG Type = Flags & CREATE_TYPES;
    const UNICODE_STRING *Name = NULL;
    SECURE_POOL *Pool, *Other;
    ExpCheckPassive("ExCreatePool was called above PASSIVE_LEVEL.");
    if ((Flags & ~(ULONG)POOL_CREATE_FLG_VALID_FLAGS) != 0 || Type == 0 || (Type & (Type - 1)) != 0)
        return STATUS_INVALID_PARAMETER_1;
    if (Params != NULL && Params->Version != POOL_CREATE_PARAMS_VERSION)
        return STATUS_INVALID_PARAMETER;
    if (Type != POOL_CREATE_FLG_SECURE_POOL)
        Name = ExpFindPoolName(Params);
    if (Type != POOL_CREATE_FLG_SECURE_POOL ? Name == NULL
                                            : Params != NULL && (Params->ParameterCount != 0 || Params->Parameters != NULL))
        return STATUS_INVALID_PARAMETER_3;
    Pool = ExpMakeSecurePool(Tag, Name);
    if (Pool == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    KiAcquireLock(&SecureLock);
    Other = Name != NULL ? ExpSecurePools : NULL;
    while (Other != NULL && !RtlEqualUnicodeString(&Other->Name, &Pool->Name, TRUE))
        Other = Other->Next;
    if (Other == NULL) {
        Pool->Handle = (HANDLE)(ExpLastHandle += 0x10);
        Pool->Next = ExpSecurePools;
        ExpSecurePools = Pool;
    }
    KiReleaseLock(&SecureLock);
    if (Other != NULL) {
        ExpFreeSecurePool(Pool);
        return STATUS_OBJECT_NAME_COLLISION;
    }
    *PoolHandle = Pool->Handle;
    return STATUS_SUCCESS;
}

VOID ExDestroyPool(HANDLE PoolHandle)
{
    SECURE_POOL **Link = &ExpSecurePools, *Pool;
    ULONG64 Blocks = 0;
    ExpCheckPassive("ExDestroyPool was called above PASSIVE_LEVEL.");
    KiAcquireLock(&SecureLock);
    while ((Pool = *Link) != NULL && Pool->Handle != PoolHandle)
        Link = &Pool->Next;
    if (Pool != NULL && (Blocks = Pool->Blocks) == 0)
        *Link = Pool->Next;
    KiReleaseLock(&SecureLock);
    if (Pool == NULL)
        KiStop(0xC2, "ExDestroyPool was given a handle that is no pool's.", NULL, 0x99, (ULONG_PTR)PoolHandle, 0, 0);
    if (Blocks != 0)
        KiStop(0xC2, "ExDestroyPool was called for a pool whose blocks were not all freed.", NULL, 0x99, (ULONG_PTR)PoolHandle,
               0, 0);
    ExpFreeSecurePool(Pool);
}

/* ---- blocks ---- */
BOOLEAN ExpIsSecureRequest(const POOL_EXTENDED_PARAMS_SECURE_POOL *Parameters)
{
    const SECURE_POOL *Pool;
    BOOLEAN Good;
    if (Parameters == NULL || (Parameters->SecurePoolFlags & ~(ULONG)SECURE_FLAGS_KNOWN) != 0)
        return FALSE;
    KiAcquireLock(&SecureLock);
    Pool = ExpFindSecurePoolLocked(Parameters->SecurePoolHandle);
    Good = Pool != NULL && Pool->Name.Buffer == NULL;
    KiReleaseLock(&SecureLock);
    return Good;
}

static BOOLEAN ExpEnterSecureBlock(SECURE_BLOCK *Block, HANDLE Handle)
{
    SECURE_BLOCK **Bucket = ExpSecureBucket(Block->Address);
    KiAcquireLock(&SecureLock);
    Block->Pool = ExpFindSecurePoolLocked(Handle);
    if (Block->Pool != NULL) {
        Block->Pool->Blocks++;
        Block->Next = *Bucket;
        *Bucket = Block;
        __atomic_fetch_add(&ExpSecureCount, 1, __ATOMIC_RELAXED);
    }
    KiReleaseLock(&SecureLock);
    return Block->Pool != NULL;
}

/* The pages, filled and then read-only. */
static PVOID ExpMakeSecurePages(SIZE_T Size, const VOID *Contents, EX_POOL_PRIORITY Priority)
{
    SIZE_T Pages = ExpSecurePages(Size);
    PVOID Address = MmAllocatePages(MmRegionNonPagedPool, Pages, MM_PAGES_ZERO | EXP_NODE_FLAGS(Priority),
                                    (EX_POOL_PRIORITY)(Priority & 0x30));
    if (Address == NULL)
        return NULL;
    if (Contents != NULL)
        memcpy(Address, Contents, Size);
    if (NT_SUCCESS(MmProtectPages(Address, Pages, PAGE_READONLY)))
        return Address;
    MmFreePages(Address, Pages);
    return NULL;
}

PVOID ExpAllocateSecure(POOL_FLAGS Flags, SIZE_T Size, ULONG Tag, const POOL_EXTENDED_PARAMS_SECURE_POOL *Parameters,
                        EX_POOL_PRIORITY Priority)
{
    const POOL_FLAGS Known =
        POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED | POOL_FLAG_CACHE_ALIGNED | POOL_FLAG_RAISE_ON_FAILURE;
    POOL_EXTENDED_PARAMS_SECURE_POOL Asked = *Parameters;
    KIRQL Irql = KiCurrentThread()->Irql;
    SECURE_BLOCK *Block;
    if ((Flags & 0xFFFFFFFFull & ~Known) != 0 || !(Flags & POOL_FLAG_NON_PAGED) || Size == 0 || Tag == 0)
        return ExpFailFlags(Flags);
    if (Irql > DISPATCH_LEVEL)
        KiStop(0xC2, "Pool was allocated at an IRQL that is too high for the pool type.", NULL, 8, Irql, NonPagedPoolNx, Size);
    Block = Size <= MAXULONG_PTR - PAGE_SIZE ? ExpMetaAllocate(ExpMetaOther, sizeof(*Block)) : NULL;
    if (Block != NULL) {
        Block->Address = ExpMakeSecurePages(Size, Asked.Buffer, Priority);
        Block->Tag = Tag;
        Block->Size = Size;
        Block->Cookie = Asked.Cookie;
        Block->Flags = Asked.SecurePoolFlags;
        Block->Busy = 0;
        if (Block->Address != NULL && ExpChargeTag(Tag, FALSE, Size, &Block->Slot)) {
            if (ExpEnterSecureBlock(Block, Asked.SecurePoolHandle))
                return Block->Address;
            ExpReturnTag(Block->Slot, Size);
        }
        if (Block->Address != NULL)
            MmFreePages(Block->Address, ExpSecurePages(Size));
        ExpMetaFree(ExpMetaOther, Block, sizeof(*Block));
    }
    if (Flags & POOL_FLAG_RAISE_ON_FAILURE)
        ExRaiseStatus(STATUS_INSUFFICIENT_RESOURCES);
    return NULL;
}

VOID ExpFreeSecure(PVOID Address, ULONG Tag, const POOL_EXTENDED_PARAMS_SECURE_POOL *Parameters)
{
    POOL_EXTENDED_PARAMS_SECURE_POOL Given = *Parameters;
    SECURE_BLOCK **Link = ExpSecureBucket(Address), *Block;
    const CHAR *Wrong = NULL;
    ULONG Own = 0;
    KIRQL Irql = KiCurrentThread()->Irql;
    if (Irql > DISPATCH_LEVEL)
        KiStop(0xC2, "Pool was freed at an IRQL that is too high for the pool type.", Address, 9, Irql, NonPagedPoolNx,
               (ULONG_PTR)Address);
    KiAcquireLock(&SecureLock);
    while ((Block = *Link) != NULL && Block->Address != Address)
        Link = &Block->Next;
    if (Block == NULL)
        Wrong = "ExFreePool2 was given a secure pool for an address that is no secure block.";
    else if (Block->Pool->Handle != Given.SecurePoolHandle)
        Wrong = "A secure block was freed with the handle of another pool.";
    else if (Block->Cookie != Given.Cookie)
        Wrong = "A secure block was freed with another cookie than it was allocated with.";
    else if (Given.Buffer != NULL || Given.SecurePoolFlags != 0)
        Wrong = "A secure block was freed with fields of the parameter set that are reserved for a free.";
    else if (!(Block->Flags & SECURE_POOL_FLAGS_FREEABLE))
        Wrong = "A secure block was freed that was not allocated with SECURE_POOL_FLAGS_FREEABLE.";
    else if (Block->Busy != 0)
        Wrong = "A secure block was freed while it was being updated.";
    else if (Block->Tag != Tag)
        Own = Block->Tag;
    if (Wrong == NULL && Own == 0) {
        *Link = Block->Next;
        Block->Pool->Blocks--;
        __atomic_fetch_sub(&ExpSecureCount, 1, __ATOMIC_RELAXED);
    }
    KiReleaseLock(&SecureLock);
    if (Wrong != NULL)
        KiStop(0xC2, Wrong, Address, 0x99, (ULONG_PTR)Address, 0, 0);
    if (Own != 0)
        KiStop(0xC2, "A pool block was freed with another tag than it was allocated with.", Address, 0xA, (ULONG_PTR)Address,
               Own, Tag);
    ExpReturnTag(Block->Slot, Block->Size);
    MmFreePages(Address, ExpSecurePages(Block->Size));
    ExpMetaFree(ExpMetaOther, Block, sizeof(*Block));
}

NTSTATUS ExSecurePoolUpdate(HANDLE SecurePoolHandle, ULONG Tag, PVOID Allocation, ULONG_PTR Cookie, SIZE_T Offset, SIZE_T Size,
                            PVOID Buffer)
{
    NTSTATUS Status = STATUS_SUCCESS;
    SECURE_BLOCK *Block;
    (VOID) KiCurrentThread();
    if (Buffer == NULL)
        return STATUS_INVALID_PARAMETER;
    KiAcquireLock(&SecureLock);
    Block = ExpIdentifySecureLocked(SecurePoolHandle, Tag, Allocation, Cookie);
    if (Block == NULL || Offset > Block->Size || Size > Block->Size - Offset)
        Status = STATUS_INVALID_PARAMETER;
    else if (!(Block->Flags & SECURE_POOL_FLAGS_MODIFIABLE))
        Status = STATUS_ACCESS_DENIED;
    else
        Block->Busy++;
    KiReleaseLock(&SecureLock);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = MmCopyToManaged((PUCHAR)Allocation + Offset, Buffer, Size);
    KiAcquireLock(&SecureLock);
    Block->Busy--;
    KiReleaseLock(&SecureLock);
    return Status;
}

LOGICAL ExSecurePoolValidate(HANDLE SecurePoolHandle, ULONG Tag, PVOID Allocation, ULONG_PTR Cookie)
{
    LOGICAL Valid;
    (VOID) KiCurrentThread();
    KiAcquireLock(&SecureLock);
    Valid = ExpIdentifySecureLocked(SecurePoolHandle, Tag, Allocation, Cookie) != NULL;
    KiReleaseLock(&SecureLock);
    return Valid;
}
