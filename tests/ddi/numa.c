/*
 * numa.c - NUMA nodes: whose frames serve whom. Each routine that takes a node, or has an ideal one, honours it; others help by
 * distance, unless they must not. SPDX-License-Identifier: MIT
 *
 * The machine: 64 MiB and eight processors in four nodes that are as uneven as can be, 24M:8M:0:32M. Node 2 has processors only.
 */
#include "mm_kit.h"
#include "pnp_kit.h"
#include "ps/psp.h"
#include "io/dmap.h"
#include <stdio.h>
#include <unistd.h>

#define TAG      0x616d754eu /* 'Numa' */
#define ANYWHERE At(0), At(~0ull), At(0)

static PHYSICAL_ADDRESS At(ULONG64 Physical)
{
    PHYSICAL_ADDRESS Address;
    Address.QuadPart = (LONGLONG)Physical;
    return Address;
}

static int StartWith(ULONG Nodes, const char *Ram)
{
    ntmm_options Options;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.cpus = 8;
    Options.nodes = Nodes;
    strcpy(Options.node_ram, Ram);
    return ntmm_start(&Options);
}
static int Start(void **State)
{
    (void)State;
    return StartWith(4, "24M:8M:0:32M");
}
static int Valid(void **State)
{
    (void)State;
    KeRevertToUserAffinityThread();
    return MiValidateAll() == NULL ? 0 : -1;
}

/* The calling thread is one of that node's from now on. */
static void RunOn(ULONG Node)
{
    GROUP_AFFINITY Affinity;
    USHORT Count;
    KeQueryNodeActiveAffinity((USHORT)Node, &Affinity, &Count);
    assert_int_equal(Count, 2);
    KeSetSystemAffinityThread(Affinity.Mask);
    assert_int_equal(KeGetCurrentNodeNumber(), Node);
}
static ULONG NodeOf(const volatile void *Va)
{
    ULONG64 Physical = (ULONG64)MmGetPhysicalAddress((PVOID)(ULONG_PTR)Va).QuadPart;
    assert_int_not_equal(Physical, 0);
    return MmNodeOfPage(Physical >> PAGE_SHIFT);
}
static void AssertNode(const volatile UCHAR *Va, SIZE_T Pages, ULONG Node)
{
    for (SIZE_T Page = 0; Page < Pages; Page++) {
        assert_int_equal(NodeOf(Va + Page * PAGE_SIZE), Node);
    }
}
static ULONG64 Free(ULONG Node)
{
    MM_NODE_INFO Info;
    assert_true(MmQueryNode(Node, &Info));
    return Info.Zeroed + Info.Free;
}
/* All of a node's free frames but Leave; MmFreePagesFromMdl and ExFreePool give them back. */
static PMDL Drain(ULONG Node, ULONG64 Leave)
{
    PMDL Mdl = MmAllocateNodePagesForMdlEx(ANYWHERE, (SIZE_T)(Free(Node) - Leave) << PAGE_SHIFT, MmCached, Node,
                                           MM_ALLOCATE_FROM_LOCAL_NODE_ONLY | MM_DONT_ZERO_ALLOCATION);
    assert_non_null(Mdl);
    return Mdl;
}
static void GiveBack(PMDL Mdl)
{
    MmFreePagesFromMdl(Mdl);
    ExFreePool(Mdl);
}

/* node_ram= divides RAM in these proportions; every frame is of one node, and the counts add up. */
static void Nodes_HaveWhatTheOptionsSay(void **State)
{
    static const ULONG Parts[] = {24, 8, 0, 32};
    MM_NODE_INFO Info;
    MM_COUNTERS Counters;
    ULONG64 Total = 0, Available = 0;
    (void)State;
    assert_int_equal(KeQueryHighestNodeNumber(), 3);
    for (ULONG Node = 0; Node < 4; Node++) {
        assert_true(MmQueryNode(Node, &Info));
        assert_in_range(Info.Pages, (MiManagedPages() * Parts[Node]) / 64, (MiManagedPages() * Parts[Node]) / 64 + 1);
        Total += Info.Pages;
        Available += Info.Zeroed + Info.Free + Info.Standby;
    }
    assert_false(MmQueryNode(4, &Info));
    MmQueryCounters(&Counters);
    assert_int_equal(Total, MiManagedPages());
    assert_int_equal(Available, Counters.AvailablePages);
}

/* KeGetCurrentNodeNumber: the node of the processor of the thread; memory that names no node comes from it. */
static void OrdinaryMemory_ComesFromTheThreadsNode(void **State)
{
    static const ULONG Nodes[] = {3, 0, 1};
    (void)State;
    for (ULONG Index = 0; Index < 3; Index++) {
        ULONG Node = Nodes[Index];
        RunOn(Node);
        PUCHAR Resident = MmAllocatePages(MmRegionNonPagedPool, 40, MM_PAGES_ZERO, NormalPoolPriority);
        PUCHAR Paged = MmAllocatePages(MmRegionPagedPool, 40, 0, NormalPoolPriority);
        PUCHAR Contiguous = MmAllocateContiguousMemory(20 * PAGE_SIZE, At(~0ull));
        PUCHAR Uncached = MmAllocateNonCachedMemory(4 * PAGE_SIZE);
        PMDL Mdl = MmAllocatePagesForMdl(ANYWHERE, 70 * PAGE_SIZE);
        assert_true(Resident && Paged && Contiguous && Uncached && Mdl);
        AssertNode(Resident, 40, Node);
        AssertNode(Contiguous, 20, Node);
        AssertNode(Uncached, 4, Node);
        for (ULONG Page = 0; Page < 70; Page++) {
            assert_int_equal(MmNodeOfPage(MmGetMdlPfnArray(Mdl)[Page]), Node);
        }
        for (ULONG Page = 0; Page < 40; Page++) {
            Paged[Page * PAGE_SIZE] = 1;
        }
        AssertNode(Paged, 40, Node);
        GiveBack(Mdl);
        MmFreeNonCachedMemory(Uncached, 4 * PAGE_SIZE);
        MmFreeContiguousMemory(Contiguous);
        MmFreePages(Paged, 40);
        MmFreePages(Resident, 40);
    }
}

/* "The first touch" decides for pageable memory, not who allocated it. */
static void PageFault_PrefersTheNodeOfTheThreadThatFaults(void **State)
{
    (void)State;
    RunOn(0);
    PUCHAR Paged = MmAllocatePages(MmRegionPagedPool, 4, 0, NormalPoolPriority);
    PUCHAR User = MmAllocateUserPages(4, PAGE_READWRITE);
    RunOn(3);
    Paged[0] = User[0] = 1;
    RunOn(1);
    Paged[PAGE_SIZE] = User[PAGE_SIZE] = 1;
    assert_int_equal(NodeOf(Paged), 3);
    assert_int_equal(NodeOf(User), 3);
    assert_int_equal(NodeOf(Paged + PAGE_SIZE), 1);
    assert_int_equal(NodeOf(User + PAGE_SIZE), 1);
    MmFreeUserPages(User, 4);
    MmFreePages(Paged, 4);
}

/* ZwAllocateVirtualMemoryEx, MemExtendedParameterNumaNode: "the preferred NUMA node"; the node of a range counts for what is
 * committed in it later, too, and for large pages. */
static void ZwAllocateVirtualMemoryEx_NumaNode(void **State)
{
    MEM_EXTENDED_PARAMETER Parameter = {.Type = MemExtendedParameterNumaNode, .ULong = 3};
    (void)State;
    RunOn(0);
    PVOID Base = NULL;
    SIZE_T Size = 64 * PAGE_SIZE;
    assert_int_equal(
        ZwAllocateVirtualMemoryEx(ZwCurrentProcess(), &Base, &Size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE, &Parameter, 1),
        STATUS_SUCCESS);
    for (ULONG Page = 0; Page < 64; Page++) {
        ((PUCHAR)Base)[Page * PAGE_SIZE] = 1;
    }
    AssertNode(Base, 64, 3);
    Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(ZwCurrentProcess(), &Base, &Size, MEM_RELEASE), STATUS_SUCCESS);

    Base = NULL;
    Size = 64 * PAGE_SIZE;
    Parameter.ULong = 1;
    assert_int_equal(ZwAllocateVirtualMemoryEx(ZwCurrentProcess(), &Base, &Size, MEM_RESERVE, PAGE_READWRITE, &Parameter, 1),
                     STATUS_SUCCESS);
    PVOID Part = (PUCHAR)Base + 8 * PAGE_SIZE;
    SIZE_T PartSize = 8 * PAGE_SIZE;
    ULONG Old;
    assert_int_equal(ZwAllocateVirtualMemory(ZwCurrentProcess(), &Part, 0, &PartSize, MEM_COMMIT, PAGE_NOACCESS),
                     STATUS_SUCCESS);
    assert_int_equal(ZwProtectVirtualMemory(ZwCurrentProcess(), &Part, &PartSize, PAGE_READWRITE, &Old), STATUS_SUCCESS);
    memset(Part, 1, PartSize);
    AssertNode(Part, 8, 1);
    Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(ZwCurrentProcess(), &Base, &Size, MEM_RELEASE), STATUS_SUCCESS);

    Base = NULL;
    Size = 2u << 20;
    assert_int_equal(ZwAllocateVirtualMemoryEx(ZwCurrentProcess(), &Base, &Size, MEM_RESERVE | MEM_COMMIT | MEM_LARGE_PAGES,
                                               PAGE_READWRITE, &Parameter, 1),
                     STATUS_SUCCESS);
    AssertNode(Base, 512, 1);
    Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(ZwCurrentProcess(), &Base, &Size, MEM_RELEASE), STATUS_SUCCESS);

    Base = NULL;
    Size = PAGE_SIZE;
    Parameter.ULong = 4;
    assert_int_equal(ZwAllocateVirtualMemoryEx(ZwCurrentProcess(), &Base, &Size, MEM_RESERVE, PAGE_READWRITE, &Parameter, 1),
                     STATUS_INVALID_PARAMETER);
}

/* POOL_EXTENDED_PARAMETER, PreferredNode: "prefers the specified NUMA node but tries others" with MM_ANY_NODE_OK; without it "the call
 * fails if the requested NUMA node cannot satisfy the allocation"; "only for ... POOL_FLAG_NON_PAGED". Blocks of any size, however full the
 * pools are with other nodes' pages. An invalid node fails the request, unless the parameter is optional. */
static void ExAllocatePool3_PreferredNode(void **State)
{
    static const SIZE_T Sizes[] = {16, 500, PAGE_SIZE, 40000};
    POOL_EXTENDED_PARAMETER Parameter = {0};
    PUCHAR Blocks[4][4];
    (void)State;
    RunOn(0);
    Parameter.Type = PoolExtendedParameterNumaNode;
    for (ULONG Round = 0; Round < 2; Round++) {
        for (ULONG Index = 0; Index < 4; Index++) {
            for (ULONG Node = 0; Node < 4; Node++) {
                Parameter.PreferredNode = Node;
                if (Node == 2) { /* has no memory */
                    assert_null(ExAllocatePool3(POOL_FLAG_NON_PAGED, Sizes[Index], TAG, &Parameter, 1));
                    Parameter.PreferredNode |= MM_ANY_NODE_OK;
                }
                Blocks[Index][Node] = ExAllocatePool3(POOL_FLAG_NON_PAGED, Sizes[Index], TAG, &Parameter, 1);
                assert_non_null(Blocks[Index][Node]);
                AssertNode(Blocks[Index][Node], BYTES_TO_PAGES(Sizes[Index]), Node == 2 ? 1 : Node);
                for (SIZE_T Byte = 0; Byte < Sizes[Index]; Byte++) {
                    assert_int_equal(Blocks[Index][Node][Byte], 0);
                }
                memset(Blocks[Index][Node], 0x5A, Sizes[Index]);
            }
        }
        for (ULONG Index = 0; Index < 16; Index++) {
            ExFreePoolWithTag(Blocks[Index / 4][Index % 4], TAG);
        }
    }
    /* a node that is full */
    PMDL Mdl = MmAllocateNodePagesForMdlEx(ANYWHERE, 12u << 20, MmCached, 1, MM_ALLOCATE_FROM_LOCAL_NODE_ONLY);
    Parameter.PreferredNode = 1;
    assert_null(ExAllocatePool3(POOL_FLAG_NON_PAGED, 256 * PAGE_SIZE, TAG, &Parameter, 1));
    Parameter.PreferredNode = 1 | MM_ANY_NODE_OK;
    PVOID Other = ExAllocatePool3(POOL_FLAG_NON_PAGED, 256 * PAGE_SIZE, TAG, &Parameter, 1);
    assert_non_null(Other); /* what node 1 has, and of others */
    ExFreePoolWithTag(Other, TAG);
    GiveBack(Mdl);
    assert_null(ExAllocatePool3(POOL_FLAG_PAGED, 16, TAG, &Parameter, 1));
    Parameter.PreferredNode = 4;
    assert_null(ExAllocatePool3(POOL_FLAG_NON_PAGED, 16, TAG, &Parameter, 1));
    Parameter.Optional = 1;
    PVOID Block = ExAllocatePool3(POOL_FLAG_NON_PAGED, 16, TAG, &Parameter, 1);
    assert_non_null(Block);
    ExFreePoolWithTag(Block, TAG);
}

/* Runs of pages for the layers above. */
static void MmAllocatePages_NamedNode(void **State)
{
    (void)State;
    RunOn(0);
    PUCHAR Resident = MmAllocatePages(MmRegionNonPagedPool, 600, MM_PAGES_ZERO | MM_PAGES_NODE(3), NormalPoolPriority);
    PUCHAR Paged = MmAllocatePages(MmRegionPagedPool, 20, MM_PAGES_NODE(1), NormalPoolPriority);
    PUCHAR Later = MmAllocatePages(MmRegionNonPagedPool, 8, MM_PAGES_RESERVE, NormalPoolPriority);
    assert_int_equal(MmCommitPages(Later, 8, MM_PAGES_PRIORITY(LowPoolPriority) | MM_PAGES_NODE(3)), STATUS_SUCCESS);
    for (ULONG Page = 0; Page < 20; Page++) {
        Paged[Page * PAGE_SIZE] = 1;
    }
    AssertNode(Resident, 600, 3);
    AssertNode(Paged, 20, 1);
    AssertNode(Later, 8, 3);
    MmFreePages(Later, 8);
    MmFreePages(Paged, 20);
    MmFreePages(Resident, 600);
}

/* A node that has no frames left is helped by the nearest that has: node 1 by node 0, then by node 3; node 2 by node 1. */
static void Fallback_NearestFirst(void **State)
{
    (void)State;
    RunOn(1);
    PMDL One = Drain(1, 0);
    assert_int_equal(Free(1), 0);
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 8, 0, NormalPoolPriority);
    AssertNode(Va, 8, 0);
    MmFreePages(Va, 8);
    PMDL Zero = Drain(0, 0);
    Va = MmAllocatePages(MmRegionNonPagedPool, 8, 0, NormalPoolPriority);
    AssertNode(Va, 8, 3);
    MmFreePages(Va, 8);
    Va = MmAllocateContiguousMemorySpecifyCacheNode(4 * PAGE_SIZE, ANYWHERE, MmCached, MM_ANY_NODE_OK | 1);
    AssertNode(Va, 4, 3);
    MmFreeContiguousMemory(Va);
    GiveBack(Zero);
    GiveBack(One);
    MM_NODE_INFO Before, After;
    MmQueryNode(2, &Before);
    Va = MmAllocatePages(MmRegionNonPagedPool, 8, MM_PAGES_NODE(2), NormalPoolPriority);
    MmQueryNode(2, &After);
    AssertNode(Va, 8, 1);
    assert_int_equal(After.Misses - Before.Misses, 8);
    assert_int_equal(After.Hits, 0);
    MmFreePages(Va, 8);
}

/* MmAllocateNodePagesForMdlEx: "IdealNode: first from the ideal node, then from others"; MM_ALLOCATE_FROM_LOCAL_NODE_ONLY: "only from
 * the ideal node": fewer pages, or none. */
static void MmAllocateNodePagesForMdlEx_LocalNodeOnly(void **State)
{
    ULONG64 Has = Free(1);
    (void)State;
    RunOn(3);
    PMDL Mdl = MmAllocateNodePagesForMdlEx(ANYWHERE, 12u << 20, MmCached, 1, MM_ALLOCATE_FROM_LOCAL_NODE_ONLY);
    assert_non_null(Mdl);
    assert_in_range(MmGetMdlByteCount(Mdl) >> PAGE_SHIFT, Has - 8, Has); /* the MDL itself may lie in the node */
    for (ULONG Page = 0; Page < MmGetMdlByteCount(Mdl) >> PAGE_SHIFT; Page++) {
        assert_int_equal(MmNodeOfPage(MmGetMdlPfnArray(Mdl)[Page]), 1);
    }
    assert_null(MmAllocateNodePagesForMdlEx(ANYWHERE, 12u << 20, MmCached, 1,
                                            MM_ALLOCATE_FROM_LOCAL_NODE_ONLY | MM_ALLOCATE_FULLY_REQUIRED));
    GiveBack(Mdl);
    assert_null(MmAllocateNodePagesForMdlEx(ANYWHERE, PAGE_SIZE, MmCached, 2, MM_ALLOCATE_FROM_LOCAL_NODE_ONLY));
    assert_null(MmAllocateNodePagesForMdlEx(ANYWHERE, PAGE_SIZE, MmCached, 4, 0));
    Mdl = MmAllocateNodePagesForMdlEx(ANYWHERE, 12u << 20, MmCached, 1, MM_ALLOCATE_FULLY_REQUIRED);
    assert_non_null(Mdl);
    ULONG Count[4] = {0};
    for (ULONG Page = 0; Page < MmGetMdlByteCount(Mdl) >> PAGE_SHIFT; Page++) {
        Count[MmNodeOfPage(MmGetMdlPfnArray(Mdl)[Page])]++;
    }
    assert_true(Count[1] >= Has - 8 && Count[0] && Count[3] == 0);
    GiveBack(Mdl);
}

/* Contiguous memory: "PreferredNode: ... If the specified node cannot satisfy the request and MM_ANY_NODE_OK is not set, the call
 * fails" (across two: Nodes_OtherMachines). */
static void MmAllocateContiguousNodeMemory_StrictOrAny(void **State)
{
    SIZE_T More = 12u << 20;
    (void)State;
    RunOn(0);
    assert_null(MmAllocateContiguousNodeMemory(More, ANYWHERE, PAGE_READWRITE, 1));
    assert_null(MmAllocateContiguousNodeMemory(PAGE_SIZE, ANYWHERE, PAGE_READWRITE, 2));
    PUCHAR Va = MmAllocateContiguousNodeMemory(More, ANYWHERE, PAGE_READWRITE, 1 | MM_ANY_NODE_OK);
    assert_non_null(Va);
    AssertNode(Va, More >> PAGE_SHIFT, 0);
    MmFreeContiguousMemory(Va);
    Va = MmAllocateContiguousMemorySpecifyCacheNode(PAGE_SIZE, ANYWHERE, MmCached, 3);
    AssertNode(Va, 1, 3);
    MmFreeContiguousMemory(Va);
}

/* MmAllocateContiguousMemoryEx: as MmAllocateContiguousNodeMemory; MmAllocatePartitionNodePagesForMdlEx: "the ideal node". */
static void OtherForms_NamedNode(void **State)
{
    SIZE_T Size = 3 * PAGE_SIZE, More = 12u << 20;
    PVOID Va;
    (void)State;
    RunOn(0);
    for (ULONG Node = 0; Node < 4; Node++) {
        NTSTATUS Status = MmAllocateContiguousMemoryEx(&Size, ANYWHERE, Node, PAGE_READWRITE, NULL, TAG, 0, &Va);
        assert_int_equal(Status, Node == 2 ? STATUS_INSUFFICIENT_RESOURCES : STATUS_SUCCESS);
        if (NT_SUCCESS(Status)) {
            AssertNode(Va, 3, Node);
            MmFreeContiguousMemory(Va);
        }
        PMDL Mdl = MmAllocatePartitionNodePagesForMdlEx(ANYWHERE, 3 * PAGE_SIZE, MmCached, Node, 0, NULL);
        assert_non_null(Mdl);
        for (ULONG Page = 0; Page < 3; Page++) {
            assert_int_equal(MmNodeOfPage(MmGetMdlPfnArray(Mdl)[Page]), Node == 2 ? 1 : Node);
        }
        GiveBack(Mdl);
    }
    assert_int_equal(MmAllocateContiguousMemoryEx(&More, ANYWHERE, 1, PAGE_READWRITE, NULL, TAG, 0, &Va),
                     STATUS_INSUFFICIENT_RESOURCES);
    assert_int_equal(MmAllocateContiguousMemoryEx(&Size, ANYWHERE, 4, PAGE_READWRITE, NULL, TAG, 0, &Va),
                     STATUS_INVALID_PARAMETER);
}

/* ---- adapters ---- */
/* An adapter's memory is of its device's node (DEVPKEY_Numa_Proximity_Domain), wherever its driver runs; without one, of the node of
 * the thread that made the adapter; a named node is honoured as anywhere. */
static void Adapter_MemoryOfTheDevicesNode(void **State)
{
    static const DEVPROPKEY Domain = {{0x540b947e, 0x8b40, 0x45bc, {0xa8, 0xa2, 0x6a, 0x0b, 0x89, 0x4c, 0xbd, 0xa2}}, 1};
    DEVICE_DESCRIPTION Description = {
        .Version = 3, .Master = TRUE, .DmaAddressWidth = 64, .InterfaceType = PCIBus, .MaximumLength = 4 * PAGE_SIZE};
    PHYSICAL_ADDRESS Logical, Anywhere = At(~0ull);
    ULONG Registers, Node;
    ntmm_driver *Driver;
    (void)State;
    assert_int_equal(ntmm_add_driver("NodeTest", PkEntry, &Driver), STATUS_SUCCESS);
    for (ULONG Round = 0; Round < 3; Round++) { /* on node 0: not told; then told 3, 1 */
        RunOn(0);
        Node = Round == 1 ? 3 : Round == 2 ? 1 : 0;
        if (Round) {
            assert_int_equal(IoSetDevicePropertyData(Pdo, &Domain, 0, 0, 7, sizeof Node, &Node), STATUS_SUCCESS);
        }
        PDMA_ADAPTER Adapter = IoGetDmaAdapter(Pdo, &Description, &Registers);
        assert_non_null(Adapter);
        AssertNode(CONTAINING_RECORD(Adapter, IOP_ADAPTER, Public)->BounceVa, Registers,
                   Node); /* no scatter/gather: it bounces */
        RunOn(1);
        PVOID Va = Adapter->DmaOperations->AllocateCommonBuffer(Adapter, 3 * PAGE_SIZE, &Logical, TRUE);
        AssertNode(Va, 3, Node);
        Adapter->DmaOperations->FreeCommonBuffer(Adapter, 3 * PAGE_SIZE, Logical, Va, TRUE);
        Va = Adapter->DmaOperations->AllocateCommonBufferEx(Adapter, &Anywhere, PAGE_SIZE, &Logical, TRUE, MM_ANY_NODE_OK | 3);
        AssertNode(Va, 1, 3);
        Adapter->DmaOperations->FreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Va, TRUE);
        /* "the preferred NUMA node": 2 has no memory, 1 is nearer than 3 */
        for (ULONG Named = 0; Named < 4; Named++) {
            ULONG Given = Named == 2 ? 1 : Named;
            PDMA_COMMON_BUFFER_VECTOR Vector;
            Va = Adapter->DmaOperations->AllocateCommonBufferEx(Adapter, NULL, PAGE_SIZE, &Logical, TRUE, Named);
            AssertNode(Va, 1, Given);
            Adapter->DmaOperations->FreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Va, TRUE);
            Va = Adapter->DmaOperations->AllocateCommonBufferWithBounds(Adapter, NULL, NULL, PAGE_SIZE, 0, NULL, Named,
                                                                        &Logical);
            AssertNode(Va, 1, Given);
            Adapter->DmaOperations->FreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Va, TRUE);
            assert_int_equal(Adapter->DmaOperations->AllocateDomainCommonBuffer(Adapter,
                                                                                Adapter->DmaOperations->GetDmaDomain(Adapter),
                                                                                NULL, PAGE_SIZE, 0, NULL, Named, &Logical, &Va),
                             STATUS_SUCCESS);
            AssertNode(Va, 1, Given);
            Adapter->DmaOperations->FreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Va, TRUE);
            assert_int_equal(Adapter->DmaOperations->AllocateCommonBufferVector(Adapter, At(0), Anywhere, MmCached, Named, 0, 2,
                                                                                PAGE_SIZE, &Vector),
                             STATUS_SUCCESS);
            Adapter->DmaOperations->GetCommonBufferFromVectorByIndex(Adapter, Vector, 1, &Va, &Logical);
            AssertNode(Va, 1, Given);
            Adapter->DmaOperations->FreeCommonBufferVector(Adapter, Vector);
        }
        Adapter->DmaOperations->PutDmaAdapter(Adapter);
    }
    assert_int_equal(ntmm_remove_driver(Driver, NULL), STATUS_SUCCESS);
}

/* Frames go back to their own node's list, and the zeroing of free frames keeps them there. */
static void FreedFrames_GoHome(void **State)
{
    ULONG64 Before[4];
    (void)State;
    RunOn(3);
    (void)MmDiscardFreePages(~0ull);
    for (ULONG Node = 0; Node < 4; Node++) {
        Before[Node] = Free(Node);
    }
    PMDL Mdl = Drain(1, 10);
    assert_true(Free(1) >= 10);
    GiveBack(Mdl);
    for (ULONG Node = 0; Node < 4; Node++) {
        assert_in_range(Free(Node), Before[Node] < 16 ? 0 : Before[Node] - 16,
                        Before[Node] + 16); /* the MDL's own pages may stay with the pools */
    }
    MM_NODE_INFO Info;
    MmQueryNode(1, &Info);
    assert_true(Info.Free != 0);
    assert_true(MmDiscardFreePages(~0ull) != 0);
    MmQueryNode(1, &Info);
    assert_int_equal(Info.Free, 0);
    assert_null(MiValidateAll());
}

/* The counts of nodes are checked against those of the machine and against the frames that a node has. */
static void Validator_SeesAMiscountedNode(void **State)
{
    (void)State;
    MiState->Node[1].StateCount[MiPageFree]++;
    MiState->Node[3].StateCount[MiPageFree]--;
    assert_non_null(strstr(MiValidateAll(), "P11"));
    MiState->Node[1].StateCount[MiPageFree]--;
    assert_non_null(strstr(MiValidateAll(), "P11"));
    MiState->Node[3].StateCount[MiPageFree]++;
    assert_null(MiValidateAll());
}

/* Two even nodes, and sixteen: the smallest and the largest that nodes= takes. */
static void Nodes_OtherMachines(void **State)
{
    static const struct {
        ULONG Nodes;
        const char *Ram;
    } Machines[] = {{2, ""}, {16, ""}, {2, "1:0"}, {3, "0:0:64M"}};
    (void)State;
    KeRevertToUserAffinityThread();
    for (ULONG Index = 0; Index < ARRAYSIZE(Machines); Index++) {
        assert_int_equal(ntmm_stop(), 0);
        assert_int_equal(StartWith(Machines[Index].Nodes, Machines[Index].Ram), Machines[Index].Ram[0] == '1' ? -1 : 0);
        if (Machines[Index].Ram[0] == '1') { /* less than a page is 0 */
            assert_non_null(strstr(ntmm_error(), "node_ram=1:0"));
            assert_int_equal(StartWith(2, "16M:48M"), 0);
        }
        if (Machines[Index].Ram[0] == 0) { /* more than a node has, but two neighbours: only across them */
            SIZE_T Bytes = (33u << 20) * 2 / Machines[Index].Nodes;
            assert_null(MmAllocateContiguousNodeMemory(Bytes, ANYWHERE, PAGE_READWRITE, 1));
            PUCHAR Va = MmAllocateContiguousNodeMemory(Bytes, ANYWHERE, PAGE_READWRITE, 1 | MM_ANY_NODE_OK);
            assert_non_null(Va);
            assert_int_not_equal(NodeOf(Va), NodeOf(Va + Bytes - 1));
            assert_null(MiValidateAll());
            MmFreeContiguousMemory(Va);
        }
        PMDL Mdl = MmAllocatePagesForMdlEx(ANYWHERE, 40u << 20, MmCached, MM_ALLOCATE_FULLY_REQUIRED);
        assert_non_null(Mdl);
        assert_null(MiValidateAll());
        GiveBack(Mdl);
        assert_null(MiValidateAll());
    }
    assert_int_equal(ntmm_stop(), 0);
    assert_int_equal(StartWith(4, "1M:2M:3M"), -1);
    assert_int_equal(StartWith(2, "1M:2M:3M"), -1);
    assert_int_equal(StartWith(2, "1M:xM"), -1);
    assert_int_equal(Start(State), 0);
}

/* Nothing is free: a standby page of the thread's node is repurposed, though others are older. */
static void StandbyPages_AreOfNodesToo(void **State)
{
    ntmm_options Options;
    MM_NODE_INFO Info;
    PMDL Taken[3];
    PUCHAR Old[2], New[2];
    assert_int_equal(ntmm_stop(), 0);
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.cpus = 8;
    Options.nodes = 4;
    strcpy(Options.node_ram, "24M:8M:0:32M");
    snprintf(Options.pagefile, sizeof(Options.pagefile), "/tmp/ntmm-numa-%d:32M", (int)getpid());
    assert_int_equal(ntmm_start(&Options), 0);
    for (ULONG Node = 0; Node < 2; Node++) {
        RunOn(Node);
        Old[Node] = ExAllocatePool2(POOL_FLAG_PAGED, 4u << 20, TAG);
        New[Node] = ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_UNINITIALIZED, 64 * PAGE_SIZE, TAG);
        memset(Old[Node], 1 + (int)Node, 4u << 20);
    }
    for (ULONG Try = 0; Try < 100; Try++) { /* whatever is in use elsewhere comes later */
        (void)MmTrimAllSystemPageableMemory(FALSE);
        (void)MiWriteModifiedPages(MAXULONG);
        MiWaitForWrites();
        assert_true(MmQueryNode(1, &Info));
        if (Info.Standby >= 900) {
            break;
        }
    }
    assert_true(Info.Standby >= 900);
    assert_true(MmQueryNode(0, &Info) && Info.Standby >= 900);
    Taken[0] = Drain(3, 0);
    Taken[1] = Drain(0, 0);
    Taken[2] = Drain(1, 0);
    for (ULONG Node = 0; Node < 2; Node++) {
        RunOn(1 - Node);
        for (ULONG Page = 0; Page < 64; Page++) {
            New[1 - Node][Page * PAGE_SIZE] = 1;
        }
        AssertNode(New[1 - Node], 64, 1 - Node);
    }
    assert_null(MiValidateAll());
    for (ULONG Index = 0; Index < 3; Index++) {
        GiveBack(Taken[Index]);
    }
    for (ULONG Node = 0; Node < 2; Node++) {
        assert_int_equal(Old[Node][(4u << 20) - 1], 1 + Node);
        ExFreePoolWithTag(Old[Node], TAG);
        ExFreePoolWithTag(New[Node], TAG);
    }
    KeRevertToUserAffinityThread();
    assert_int_equal(ntmm_stop(), 0);
    char Path[64];
    snprintf(Path, sizeof(Path), "/tmp/ntmm-numa-%d", (int)getpid());
    (void)unlink(Path);
    assert_int_equal(Start(State), 0);
}

int main(void)
{
#define TEST(Name) cmocka_unit_test_teardown(Name, Valid)
    const struct CMUnitTest Tests[] = {
        TEST(Nodes_HaveWhatTheOptionsSay),
        TEST(OrdinaryMemory_ComesFromTheThreadsNode),
        TEST(PageFault_PrefersTheNodeOfTheThreadThatFaults),
        TEST(ZwAllocateVirtualMemoryEx_NumaNode),
        TEST(ExAllocatePool3_PreferredNode),
        TEST(MmAllocatePages_NamedNode),
        TEST(Fallback_NearestFirst),
        TEST(MmAllocateNodePagesForMdlEx_LocalNodeOnly),
        TEST(MmAllocateContiguousNodeMemory_StrictOrAny),
        TEST(OtherForms_NamedNode),
        TEST(Adapter_MemoryOfTheDevicesNode),
        TEST(FreedFrames_GoHome),
        TEST(Validator_SeesAMiscountedNode),
        TEST(StandbyPages_AreOfNodesToo),
        TEST(Nodes_OtherMachines),
    };
    return cmocka_run_group_tests(Tests, Start, KitStop);
}
