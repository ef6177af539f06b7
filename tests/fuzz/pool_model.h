/*
 * pool_model.h - the pools against a simple model: a string of bytes is read as operations, each is done by the pools and by the
 * model, and they must agree after each. SPDX-License-Identifier: MIT
 *
 * Shared by the libFuzzer target (tests/fuzz/pool_fuzz.c) and the seeded program (tests/stress/pool_model_test.c). An operation
 * names one of three threads, which does it while the others wait, so that every run of a string is the same run.
 *
 * Operations: allocate (every form of the pools: legacy types, flags, priorities, extended parameters, quota, secure pools),
 * allocate from and free to three lookaside lists, flush one, adjust their depths; free by every form on any thread; end a thread
 * and begin another (its cache is given up and taken over); write to a block; a sin, caught: second free, another tag, the middle,
 * bytes behind the block.
 *
 * The model: a table of live blocks with what is written in them, the sums of each tag, the quota charged. Agreement:
 *   1. a block is aligned, crosses no page unless it is larger, overlaps no other, is zero where it must be;
 *   2. what was written is there when it is freed;
 *   3. each tag's blocks and bytes are what the model counts, after every step;
 *   4. a charge is refused exactly when the model says so, and the process is charged what the model says;
 *   5. a sin gives the stop with the documented numbers, and changes nothing;
 *   6. the pools' validator finds nothing, after every step and at the end, where everything is freed and all is zero.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <ntifs.h>
#include <ntmm.h>
#include "ex/ex.h"
#include "ps/psp.h"

#define MODEL_BLOCKS  192
#define MODEL_TAGS    10 /* the last three are the lookaside lists' */
#define MODEL_LISTS   3
#define MODEL_THREADS 3
#define MODEL_QUOTA   20000

typedef enum { FromPool, FromList, FromSecure } MODEL_SOURCE;

typedef struct MODEL_BLOCK {
    PUCHAR At;
    SIZE_T Size;
    unsigned Tag, List;
    MODEL_SOURCE Source;
    BOOLEAN Paged, Quota, Written;
    UCHAR Pattern;
} MODEL_BLOCK;

typedef struct MODEL_WORKER {
    pthread_t Id;
    pthread_mutex_t Lock;
    pthread_cond_t Changed;
    void (*Routine)(void);
    BOOLEAN End, Lives;
} MODEL_WORKER;

static struct {
    const UCHAR *Data;
    size_t Left;
    MODEL_BLOCK Blocks[MODEL_BLOCKS];
    unsigned Count;
    LONG64 TagBlocks[MODEL_TAGS], TagBytes[MODEL_TAGS];
    LONG64 Quota[2];
    NPAGED_LOOKASIDE_LIST NPaged;
    PAGED_LOOKASIDE_LIST Paged;
    LOOKASIDE_LIST_EX Ex;
    HANDLE Secure;
    MODEL_WORKER Workers[MODEL_THREADS];
    BOOLEAN Sinful;
    ULONG64 Steps, Sins, Refused;
    const char *Doing;
} Model;

static const ULONG ModelTags[MODEL_TAGS] = {'0ldM', '1ldM', '2ldM', '3ldM', '4ldM', '5ldM', '6ldM', '7ldM', '8ldM', '9ldM'};
static const SIZE_T ModelListSize[MODEL_LISTS] = {48, 200, 1500};

static __attribute__((noreturn, format(printf, 1, 2))) void ModelFail(const char *Format, ...)
{
    va_list Arguments;
    va_start(Arguments, Format);
    fprintf(stderr, "pool model: step %llu (%s): ", (unsigned long long)Model.Steps, Model.Doing);
    vfprintf(stderr, Format, Arguments);
    fputc('\n', stderr);
    va_end(Arguments);
    abort();
}
#define MODEL_EXPECT(What)                                                                                                     \
    do {                                                                                                                       \
        if (!(What))                                                                                                           \
            ModelFail("line %d: %s", __LINE__, #What);                                                                         \
    } while (0)

static unsigned Byte(void)
{
    if (Model.Left == 0)
        return 0;
    Model.Left--;
    return *Model.Data++;
}

static unsigned Word(void)
{
    unsigned High = Byte();
    return High << 8 | Byte();
}

/* ---- what must hold of every block ---- */
static void Fill(MODEL_BLOCK *Block)
{
    SIZE_T Some = Block->Size < 512 ? Block->Size : 256;
    memset(Block->At, Block->Pattern, Some);
    memset(Block->At + Block->Size - Some, Block->Pattern, Some);
    Block->Written = TRUE;
}

static void CheckContents(const MODEL_BLOCK *Block)
{
    SIZE_T Some = Block->Size < 512 ? Block->Size : 256, Index;
    if (!Block->Written)
        return;
    for (Index = 0; Index < Some; Index++)
        if (Block->At[Index] != Block->Pattern || Block->At[Block->Size - Some + Index] != Block->Pattern)
            ModelFail("a block of %zu bytes at %p changed", (size_t)Block->Size, (void *)Block->At);
}

static void CheckPlace(const MODEL_BLOCK *Block, BOOLEAN Zero, BOOLEAN Aligned)
{
    ULONG_PTR At = (ULONG_PTR)Block->At;
    unsigned Index;
    MODEL_EXPECT((At & 15) == 0);
    if (Block->Size >= PAGE_SIZE)
        MODEL_EXPECT((At & (PAGE_SIZE - 1)) == 0);
    else if (Block->Size != 0)
        MODEL_EXPECT(At / PAGE_SIZE == (At + Block->Size - 1) / PAGE_SIZE);
    if (Aligned)
        MODEL_EXPECT((At & 63) == 0);
    for (Index = 0; Index < Model.Count; Index++) {
        const MODEL_BLOCK *Other = &Model.Blocks[Index];
        if (Block->At < Other->At + (Other->Size ? Other->Size : 1) && Other->At < Block->At + (Block->Size ? Block->Size : 1))
            ModelFail("a block of %zu bytes at %p overlaps one of %zu at %p", (size_t)Block->Size, (void *)Block->At,
                      (size_t)Other->Size, (void *)Other->At);
    }
    for (Index = 0; Zero && Index < Block->Size; Index += Index < 4096 ? 1 : 61)
        MODEL_EXPECT(Block->At[Index] == 0);
}

static void ModelTag(const EXP_TAG_USE *Use, PVOID Context)
{
    LONG64(*Sums)[2] = Context;
    unsigned Tag = (Use->Tag & 0xFF) == 'M' ? (Use->Tag >> 24) - '0' : MODEL_TAGS;
    if (Tag < MODEL_TAGS && Use->Tag == ModelTags[Tag]) {
        Sums[Tag][0] += (LONG64)(Use->Allocs - Use->Frees);
        Sums[Tag][1] += Use->Bytes;
    }
}

static void CheckSums(void)
{
    LONG64 Sums[MODEL_TAGS][2];
    unsigned Tag;
    memset(Sums, 0, sizeof Sums);
    ExpQueryTags(ModelTag, Sums);
    for (Tag = 0; Tag < MODEL_TAGS; Tag++) {
        LONG64 Cached = 0;
        if (Tag >= MODEL_TAGS - MODEL_LISTS) {
            unsigned List = Tag - (MODEL_TAGS - MODEL_LISTS);
            Cached = ExQueryDepthSList(List == 0   ? &Model.NPaged.L.ListHead
                                       : List == 1 ? &Model.Paged.L.ListHead
                                                   : &Model.Ex.L.ListHead);
            Sums[Tag][1] -= Cached * (LONG64)ModelListSize[List];
        }
        if (Sums[Tag][0] - Cached != Model.TagBlocks[Tag] || Sums[Tag][1] != Model.TagBytes[Tag])
            ModelFail("tag %u: the pools count %lld blocks of %lld bytes, the model %lld of %lld", Tag,
                      (long long)(Sums[Tag][0] - Cached), (long long)Sums[Tag][1], (long long)Model.TagBlocks[Tag],
                      (long long)Model.TagBytes[Tag]);
    }
    for (Tag = 0; Tag < 2; Tag++)
        if (PspUserProcess->QuotaUsage[Tag] != Model.Quota[Tag])
            ModelFail("quota %u: %lld bytes are charged, the model says %lld", Tag, (long long)PspUserProcess->QuotaUsage[Tag],
                      (long long)Model.Quota[Tag]);
}

static void CheckAll(void)
{
    const CHAR *Text = ExpValidatePools();
    if (Text != NULL)
        ModelFail("%s", Text);
}

/* ---- operations ---- */
static SIZE_T SomeSize(void)
{
    unsigned Shape = Byte();
    switch (Shape & 7) {
    case 0:
        return Word() % 64;
    case 1:
    case 2:
    case 3:
        return Word() % 512;
    case 4:
        return Word() % 4096;
    case 5:
        return (SIZE_T)(Shape >> 3) * 16 + (Byte() % 3) - 1 + 16; /* around the classes */
    case 6:
        return PAGE_SIZE - 32 + Word() % 64;
    default:
        return Word() * (SIZE_T)(Shape & 8 ? 16 : 1);
    }
}

static void Enter(MODEL_BLOCK *Block, BOOLEAN Zero, BOOLEAN Aligned)
{
    CheckPlace(Block, Zero, Aligned);
    if (Block->Source != FromSecure && Block->Size != 0 && (Block->Pattern & 3) != 0)
        Fill(Block);
    Model.TagBlocks[Block->Tag]++;
    Model.TagBytes[Block->Tag] += (LONG64)Block->Size;
    if (Block->Quota)
        Model.Quota[Block->Paged] += (LONG64)Block->Size;
    Model.Blocks[Model.Count++] = *Block;
}

static void DoAllocate(void)
{
    MODEL_BLOCK Block;
    unsigned Form = Byte() % 8, Options = Byte();
    BOOLEAN Zero = FALSE, Aligned = (Options & 8) != 0, Refuse = FALSE;
    POOL_TYPE Type;
    POOL_FLAGS Flags;
    ULONG Tag;
    memset(&Block, 0, sizeof Block);
    Block.Size = SomeSize();
    Block.Tag = Byte() % (MODEL_TAGS - MODEL_LISTS);
    Block.Pattern = (UCHAR)Byte();
    Block.Paged = Options & 1;
    Tag = ModelTags[Block.Tag];
    if (Model.Count == MODEL_BLOCKS)
        return;
    Type = (POOL_TYPE)((Block.Paged   ? PagedPool
                        : Options & 2 ? NonPagedPoolNx
                                      : NonPagedPoolExecute) |
                       (Aligned ? NonPagedPoolCacheAligned : 0));
    Flags = (Block.Paged   ? POOL_FLAG_PAGED
             : Options & 2 ? POOL_FLAG_NON_PAGED
                           : POOL_FLAG_NON_PAGED_EXECUTE) |
            (Aligned ? POOL_FLAG_CACHE_ALIGNED : 0) | (Options & 4 ? POOL_FLAG_UNINITIALIZED : 0);
    switch (Form) {
    case 0:
        Model.Doing = "ExAllocatePoolWithTag";
        Block.At = ExAllocatePoolWithTag(Type, Block.Size, Tag);
        break;
    case 1:
        Model.Doing = "ExAllocatePoolZero";
        Zero = TRUE;
        Block.At = ExAllocatePoolZero(Type, Block.Size, Tag);
        break;
    case 2:
        Model.Doing = "ExAllocatePoolWithTagPriority";
        Block.At = ExAllocatePoolWithTagPriority(Type, Block.Size, Tag, (EX_POOL_PRIORITY)((Options >> 4) % 3 * 16));
        break;
    case 3:
    case 4:
        Model.Doing = "ExAllocatePool2";
        Zero = !(Options & 4);
        Refuse = Block.Size == 0;
        Block.At = ExAllocatePool2(Flags, Block.Size, Tag);
        break;
    case 5: {
        POOL_EXTENDED_PARAMETER Parameters[2];
        Model.Doing = "ExAllocatePool3";
        memset(Parameters, 0, sizeof Parameters);
        Parameters[0].Type = PoolExtendedParameterPriority;
        Parameters[0].Priority = HighPoolPriority;
        Parameters[1].Type = Options & 0x10 ? PoolExtendedParameterNumaNode : 77;
        Parameters[1].Optional = (Options >> 5) & 1;
        Zero = !(Options & 4);
        Refuse = Block.Size == 0 || (!Parameters[1].Optional && (!(Options & 0x10) || !(Flags & POOL_FLAG_NON_PAGED)));
        Block.At = ExAllocatePool3(Flags, Block.Size, Tag, Parameters, 2);
        break;
    }
    case 6: {
        KAPC_STATE Attached;
        BOOLEAN Legacy = Options & 0x10;
        Model.Doing = "quota";
        Block.Quota = Block.Size < PAGE_SIZE;
        Refuse = (!Legacy && Block.Size == 0) || (Block.Quota && Model.Quota[Block.Paged] + (LONG64)Block.Size > MODEL_QUOTA);
        Zero = !Legacy && !(Options & 4);
        KeStackAttachProcess((PRKPROCESS)PspUserProcess, &Attached);
        Block.At = Legacy ? ExAllocatePoolWithQuotaTag((POOL_TYPE)(Type | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE), Block.Size, Tag)
                          : ExAllocatePool2(Flags | POOL_FLAG_USE_QUOTA, Block.Size, Tag);
        KeUnstackDetachProcess(&Attached);
        break;
    }
    default: {
        POOL_EXTENDED_PARAMS_SECURE_POOL Secure = {Model.Secure, NULL, (ULONG_PTR)Block.Pattern, 3};
        POOL_EXTENDED_PARAMETER Parameter;
        Model.Doing = "secure";
        memset(&Parameter, 0, sizeof Parameter);
        Parameter.Type = PoolExtendedParameterSecurePool;
        Parameter.SecurePoolParams = &Secure;
        Block.Source = FromSecure;
        Block.Paged = FALSE;
        Block.Size %= 20000;
        Zero = TRUE;
        Aligned = FALSE;
        Refuse = Block.Size == 0;
        Block.At = ExAllocatePool3(POOL_FLAG_NON_PAGED, Block.Size, Tag, &Parameter, 1);
        break;
    }
    }
    if (Block.At == NULL || Refuse) {
        MODEL_EXPECT(Block.At == NULL);
        MODEL_EXPECT(Refuse); /* the machine has memory for all that the table holds */
        Model.Refused++;
        return;
    }
    Enter(&Block, Zero, Aligned);
}

static void DoFreeAt(unsigned Index, unsigned Form)
{
    MODEL_BLOCK Block = Model.Blocks[Index];
    CheckContents(&Block);
    Model.Doing = "free";
    Model.Blocks[Index] = Model.Blocks[--Model.Count];
    Model.TagBlocks[Block.Tag]--;
    Model.TagBytes[Block.Tag] -= (LONG64)Block.Size;
    if (Block.Quota)
        Model.Quota[Block.Paged] -= (LONG64)Block.Size;
    if (Block.Source == FromSecure) {
        POOL_EXTENDED_PARAMS_SECURE_POOL Secure = {Model.Secure, NULL, (ULONG_PTR)Block.Pattern, 0};
        POOL_EXTENDED_PARAMETER Parameter;
        UCHAR New = 0x5C;
        memset(&Parameter, 0, sizeof Parameter);
        Parameter.Type = PoolExtendedParameterSecurePool;
        Parameter.SecurePoolParams = &Secure;
        MODEL_EXPECT(ExSecurePoolValidate(Model.Secure, ModelTags[Block.Tag], Block.At, Block.Pattern));
        MODEL_EXPECT(ExSecurePoolUpdate(Model.Secure, ModelTags[Block.Tag], Block.At, Block.Pattern, Block.Size - 1, 1, &New) ==
                     STATUS_SUCCESS);
        MODEL_EXPECT(Block.At[Block.Size - 1] == 0x5C);
        ExFreePool2(Block.At, ModelTags[Block.Tag], &Parameter, 1);
    } else if (Block.Source == FromList) {
        if (Block.List == 0)
            ExFreeToNPagedLookasideList(&Model.NPaged, Block.At);
        else if (Block.List == 1)
            ExFreeToPagedLookasideList(&Model.Paged, Block.At);
        else
            ExFreeToLookasideListEx(&Model.Ex, Block.At);
    } else if (Form % 3 == 0) {
        (ExFreePool)(Block.At);
    } else if (Form % 3 == 1) {
        ExFreePoolWithTag(Block.At, ModelTags[Block.Tag]);
    } else {
        ExFreePool2(Block.At, ModelTags[Block.Tag], NULL, 0);
    }
}

static void DoFree(void)
{
    unsigned Which = Byte(), Form = Byte();
    if (Model.Count != 0)
        DoFreeAt((Form & 0x80 ? Model.Count - 1 : Which * Model.Count / 256), Form);
}

static void DoList(void)
{
    MODEL_BLOCK Block;
    unsigned What = Byte();
    memset(&Block, 0, sizeof Block);
    Block.List = What % MODEL_LISTS;
    Block.Pattern = (UCHAR)Byte();
    Model.Doing = "lookaside list";
    if (What >= 0xF0) {
        ExAdjustLookasideDepth();
        return;
    }
    if (What >= 0xE0) {
        ExFlushLookasideListEx(&Model.Ex);
        return;
    }
    if (Model.Count == MODEL_BLOCKS)
        return;
    Block.Source = FromList;
    Block.Tag = MODEL_TAGS - MODEL_LISTS + Block.List;
    Block.Size = ModelListSize[Block.List];
    Block.At = Block.List == 0   ? ExAllocateFromNPagedLookasideList(&Model.NPaged)
               : Block.List == 1 ? ExAllocateFromPagedLookasideList(&Model.Paged)
                                 : ExAllocateFromLookasideListEx(&Model.Ex);
    MODEL_EXPECT(Block.At != NULL);
    Enter(&Block, FALSE, FALSE);
}

static void DoWrite(void)
{
    unsigned Which = Byte();
    MODEL_BLOCK *Block;
    Model.Doing = "write";
    if (Model.Count == 0)
        return;
    Block = &Model.Blocks[Which * Model.Count / 256];
    CheckContents(Block);
    if (Block->Source == FromSecure || Block->Size == 0)
        return;
    Block->Pattern = (UCHAR)Byte();
    Fill(Block);
}

/* ---- sins ---- */
typedef struct SIN {
    PVOID At;
    ULONG Tag;
    BOOLEAN Tagged;
} SIN;

static void Commit(void *Argument)
{
    const SIN *Sin = Argument;
    if (Sin->Tagged)
        ExFreePoolWithTag(Sin->At, Sin->Tag);
    else
        (ExFreePool)(Sin->At);
}

static void ExpectSin(SIN *Sin, uint32_t Code, uint64_t P1, uint64_t P2, uint64_t P3, uint64_t P4)
{
    ntmm_bugcheck Stop;
    Model.Sins++;
    if (!ntmm_catch(Commit, Sin, &Stop))
        ModelFail("nothing stopped the free of %p", Sin->At);
    if (Stop.code != Code || Stop.parameters[0] != P1 || Stop.parameters[1] != P2 || Stop.parameters[2] != P3 ||
        Stop.parameters[3] != P4)
        ModelFail("stop %#x (%#llx,%#llx,%#llx,%#llx), not %#x (%#llx,%#llx,%#llx,%#llx)", Stop.code,
                  (unsigned long long)Stop.parameters[0], (unsigned long long)Stop.parameters[1],
                  (unsigned long long)Stop.parameters[2], (unsigned long long)Stop.parameters[3], Code, (unsigned long long)P1,
                  (unsigned long long)P2, (unsigned long long)P3, (unsigned long long)P4);
}

static void DoSin(void)
{
    unsigned Kind = Byte(), Which = Byte(), Index;
    MODEL_BLOCK Block;
    SIN Sin;
    Model.Doing = "sin";
    if (Model.Count == 0 || !Model.Sinful || Kind % 4 == 3)
        return;
    Index = Which * Model.Count / 256;
    Block = Model.Blocks[Index];
    if (Block.Source != FromPool)
        return;
    memset(&Sin, 0, sizeof Sin);
    Sin.At = Block.At;
    switch (Kind % 4) {
    case 0: /* another tag */
        Sin.Tag = 'rhtO';
        Sin.Tagged = TRUE;
        ExpectSin(&Sin, 0xC2, 0xA, (uint64_t)Block.At, ModelTags[Block.Tag], 'rhtO');
        break;
    case 1: /* the middle */
        if (Block.Size < 32)
            return;
        Sin.At = Block.At + 16;
        if (!Block.Paged)
            ExpectSin(&Sin, 0xC2, 0x46, (uint64_t)Sin.At, 0, 0);
        break;
    default: /* twice */
        DoFreeAt(Index, Kind >> 2);
        ExpectSin(&Sin, 0xC2, 7, 0, ModelTags[Block.Tag], (uint64_t)Block.At);
        break;
    }
    Model.Doing = "after a sin";
}

/* ---- threads ---- */
static void *WorkerMain(void *Argument)
{
    MODEL_WORKER *Worker = Argument;
    pthread_mutex_lock(&Worker->Lock);
    while (!Worker->End) {
        if (Worker->Routine != NULL) {
            Worker->Routine();
            Worker->Routine = NULL;
            pthread_cond_broadcast(&Worker->Changed);
        }
        if (!Worker->End)
            pthread_cond_wait(&Worker->Changed, &Worker->Lock);
    }
    pthread_mutex_unlock(&Worker->Lock);
    return NULL;
}

static void RunOn(unsigned Index, void (*Routine)(void))
{
    MODEL_WORKER *Worker = &Model.Workers[Index];
    if (Index == 0) {
        Routine();
        return;
    }
    if (!Worker->Lives) {
        Worker->End = FALSE;
        Worker->Routine = NULL;
        pthread_mutex_init(&Worker->Lock, NULL);
        pthread_cond_init(&Worker->Changed, NULL);
        MODEL_EXPECT(pthread_create(&Worker->Id, NULL, WorkerMain, Worker) == 0);
        Worker->Lives = TRUE;
    }
    pthread_mutex_lock(&Worker->Lock);
    Worker->Routine = Routine;
    pthread_cond_broadcast(&Worker->Changed);
    while (Worker->Routine != NULL)
        pthread_cond_wait(&Worker->Changed, &Worker->Lock);
    pthread_mutex_unlock(&Worker->Lock);
}

static void EndWorker(unsigned Index)
{
    MODEL_WORKER *Worker = &Model.Workers[Index];
    if (!Worker->Lives)
        return;
    pthread_mutex_lock(&Worker->Lock);
    Worker->End = TRUE;
    pthread_cond_broadcast(&Worker->Changed);
    pthread_mutex_unlock(&Worker->Lock);
    pthread_join(Worker->Id, NULL);
    pthread_mutex_destroy(&Worker->Lock);
    pthread_cond_destroy(&Worker->Changed);
    Worker->Lives = FALSE;
}

/* ---- a string of operations ---- */
static void RunModel(const UCHAR *Data, size_t Length)
{
    static void (*const Operations[16])(void) = {DoAllocate, DoAllocate, DoAllocate, DoAllocate, DoAllocate, DoFree,
                                                 DoFree,     DoFree,     DoFree,     DoFree,     DoList,     DoList,
                                                 DoList,     DoWrite,    DoSin,      NULL};
    Model.Data = Data;
    Model.Left = Length;
    while (Model.Left != 0) {
        unsigned What = Byte(), Thread = (What >> 4) % MODEL_THREADS;
        Model.Steps++;
        if (Operations[What & 15] != NULL)
            RunOn(Thread, Operations[What & 15]);
        else if (What >= 0x80)
            EndWorker(Thread);
        CheckSums();
        CheckAll();
    }
    while (Model.Count != 0)
        DoFreeAt(Model.Count - 1, Model.Count);
    CheckSums();
    CheckAll();
    Model.Doing = "end";
    MODEL_EXPECT(Model.Quota[0] == 0 && Model.Quota[1] == 0);
}

static void StartModel(uint64_t Seed)
{
    ntmm_options Options;
    ntmm_default_options(&Options);
    Options.ram = 256 << 20;
    Options.cpus = 2;
    Options.seed = Seed;
    Model.Doing = "start";
    Model.Sinful = TRUE;
    MODEL_EXPECT(ntmm_start(&Options) == 0);
    ExpLookasidePeriod = 1000000000; /* depths change where the string says so */
    MODEL_EXPECT(ntmm_set_pool_quota(0, false, MODEL_QUOTA) == 0 && ntmm_set_pool_quota(0, true, MODEL_QUOTA) == 0);
    MODEL_EXPECT(ExCreatePool(POOL_CREATE_FLG_SECURE_POOL, 'cSdM', NULL, &Model.Secure) == STATUS_SUCCESS);
    ExInitializeNPagedLookasideList(&Model.NPaged, NULL, NULL, POOL_NX_ALLOCATION, ModelListSize[0], ModelTags[MODEL_TAGS - 3],
                                    0);
    ExInitializePagedLookasideList(&Model.Paged, NULL, NULL, 0, ModelListSize[1], ModelTags[MODEL_TAGS - 2], 0);
    MODEL_EXPECT(ExInitializeLookasideListEx(&Model.Ex, NULL, NULL, NonPagedPoolNx, 0, ModelListSize[2],
                                             ModelTags[MODEL_TAGS - 1], 0) == STATUS_SUCCESS);
}

static void StopModel(void)
{
    LONG64 Zero[MODEL_TAGS][2];
    unsigned Index;
    Model.Doing = "stop";
    for (Index = 0; Index < MODEL_THREADS; Index++)
        EndWorker(Index);
    ExDeleteNPagedLookasideList(&Model.NPaged);
    ExDeletePagedLookasideList(&Model.Paged);
    ExDeleteLookasideListEx(&Model.Ex);
    ExDestroyPool(Model.Secure);
    memset(Zero, 0, sizeof Zero);
    ExpQueryTags(ModelTag, Zero);
    for (Index = 0; Index < MODEL_TAGS; Index++)
        MODEL_EXPECT(Zero[Index][0] == 0 && Zero[Index][1] == 0);
    MODEL_EXPECT(ntmm_stop() == 0);
}
