/*
 * dmap.h - DMA: what the files dma*.c share. SPDX-License-Identifier: MIT
 *
 *   IopAdapters --> IOP_ADAPTER --Domain--> IOP_DOMAIN      what the device may reach, by logical page (dmadom.c)
 *                     |-- Sets     IOP_SET       map registers granted: the MapRegisterBase of drivers (dmachan.c, dmamap.c)
 *                     |-- Waiting  IOP_DMA_REQUEST   channel requests in order of arrival (dmachan.c)
 *                     |-- Lists    IOP_LIST      scatter/gather lists that are out (dmasg.c)
 *                     |-- Buffers  IOP_BUFFER    common buffers (dmabuf.c)
 *                     `-- Bounce   pages that the device can reach, one for each map register (dmamap.c)
 *
 * Locks: IopDmaLock guards the list of adapters and domains and what domains translate; IOP_ADAPTER.Lock guards the rest of an
 * adapter. Order: the adapter's, then IopDmaLock. IRQL <= DISPATCH_LEVEL.
 */
#pragma once
#include "io/iopp.h"
#include "mm/mm.h"

#define IOP_DMA_TAG            0x20616d44u /* 'Dma ' */
#define IOP_BOUNCE_REGISTERS   257u        /* where pages have to be bounced: 1 MiB of them, and one for the offset */
#define IOP_MOST_REGISTERS     0x10001u    /* elsewhere: 256 MiB */
#define IOP_DOMAIN_TABLES      1024u       /* of 1,024 logical pages each: 4 GiB */
#define IOP_LOGICAL_FIRST_PAGE 0x100u

/* What an entry of a domain says of a logical page. */
#define IOP_DEVICE_READS  0x1ull
#define IOP_DEVICE_WRITES 0x2ull
#define IOP_RELEASED      0x4ull /* was mapped once */

typedef struct _IOP_DOMAIN {
    ULONG Next; /* where to look for free logical pages: what was released last is used again last */
    ULONG Mapped;
    BOOLEAN Translates; /* FALSE: logical addresses are physical ones, and nothing is checked */
    ULONG64 *Tables[IOP_DOMAIN_TABLES];
} IOP_DOMAIN;

/* A part of a set's map registers in use. */
typedef struct _IOP_PIECE {
    PMDL Mdl;
    ULONG Offset, Length; /* in the MDL */
    ULONG First, Pages;   /* registers */
    BOOLEAN Bounced, Write;
    BOOLEAN Partly; /* left of a piece that was flushed in part */
} IOP_PIECE;

typedef struct _IOP_SET {
    LIST_ENTRY Link;
    struct _IOP_ADAPTER *Adapter;
    ULONG Count;                        /* map registers granted */
    ULONG First;                        /* of the adapter's bounce pages */
    ULONG Next;                         /* those from here on are free */
    ULONG LogicalPage;                  /* translating: reserved pages of the domain, one for each register */
    ULONG PieceCount, PieceMax, Partly; /* Partly: so many pieces are that */
    ULONG Direct;                       /* Direct: pieces without registers, kept for a verified adapter only */
    ULONG64 BytesMapped;
    ULONG64 Unlisted, Loose; /* bytes mapped without a piece: none of them flushed yet (in BytesMapped too), or some were */
    PVOID TransferContext;   /* an Ex request's: only compared, it may be gone */
    BOOLEAN Cancelled;       /* (Lock) by CancelMappedTransfer: nothing more is mapped */
    IOP_PIECE Pieces[];
} IOP_SET;

/* What lies in the driver's DMA_TRANSFER_CONTEXT_SIZE_V1 bytes. A context that was cancelled serves again when it is initialised. */
typedef enum _IOP_CONTEXT_STATE {
    IopContextFresh,
    IopContextWaiting,
    IopContextGranted,
    IopContextCancelled
} IOP_CONTEXT_STATE;
typedef struct _IOP_TRANSFER_CONTEXT {
    ULONG Magic;
    IOP_CONTEXT_STATE State; /* (IOP_ADAPTER.Lock) */
    PDMA_ADAPTER Adapter;
} IOP_TRANSFER_CONTEXT;
C_ASSERT(sizeof(IOP_TRANSFER_CONTEXT) <= DMA_TRANSFER_CONTEXT_SIZE_V1);

typedef struct _IOP_DMA_REQUEST {
    LIST_ENTRY Link;
    PDEVICE_OBJECT Device;
    PIRP Irp;              /* the device's current one when it asked */
    PVOID TransferContext; /* the key for CancelAdapterChannel */
    ULONG Registers;
    BOOLEAN Ex;
    PDRIVER_CONTROL Routine; /* or, for a list: */
    struct _IOP_LIST *List;
    PVOID Context;
} IOP_DMA_REQUEST;

typedef struct _IOP_LIST {
    LIST_ENTRY Link;
    struct _IOP_ADAPTER *Adapter;
    PSCATTER_GATHER_LIST Public;
    BOOLEAN Own, Write; /* Own: the memory of the list is ours */
    BOOLEAN Holds;      /* (Lock) the adapter object, too: FreeAdapterObject is to come, or PutScatterGatherList */
    BOOLEAN Spent;      /* (Lock) FreeAdapterObject took its registers; only PutScatterGatherList may still come */
    ULONG Elements;     /* room */
    PMDL Mdl;
    ULONGLONG Offset;
    ULONG Length;
    IOP_SET *Set;
    PMDL Target; /* BuildMdlFromScatterGatherList made it */
    PDRIVER_LIST_CONTROL Routine;
    PVOID Context;
    PIRP Irp;
} IOP_LIST;

typedef struct _IOP_BUFFER {
    LIST_ENTRY Link;
    PVOID Va;
    ULONG Length;
    ULONG Pages; /* of the domain, or 0: it does not translate */
    PHYSICAL_ADDRESS Logical;
    IOP_DOMAIN *Domain;
    BOOLEAN CacheEnabled; /* what FreeCommonBuffer must be told */
    BOOLEAN Borrowed;     /* of an MDL; freed with either CacheEnabled */
    BOOLEAN Guarded;      /* dmaguard.c: the memory begins a page before Va */
} IOP_BUFFER;

/* The channel of a system DMA controller (dmasys.c). */
typedef enum _IOP_DMA_STATE { IopDmaIdle, IopDmaArmed, IopDmaTerminal, IopDmaStopped } IOP_DMA_STATE;
typedef struct _IOP_SYSTEM_DMA {
    IOP_DMA_STATE State;
    BOOLEAN Write; /* memory to device */
    ULONG Length, Done;
    ULONG Round; /* how often it was programmed */
    PHYSICAL_ADDRESS Logical;
    PDMA_COMPLETION_ROUTINE Routine;
    PVOID Context;
} IOP_SYSTEM_DMA;

typedef struct _IOP_ADAPTER {
    DMA_ADAPTER Public; /* first: what drivers see */
    LIST_ENTRY Link;
    PDEVICE_OBJECT Device;
    DEVICE_DESCRIPTION Description;
    ULONG AddressBits;
    ULONG64 Limit;    /* highest address the device can put out */
    BOOLEAN Verified; /* DMA verification was on for its driver */
    BOOLEAN Bounces;  /* some of RAM is out of its reach, or it wants one run */
    ULONG MostRegisters;
    ULONG Node; /* of its memory */
    IOP_DOMAIN *Domain, *OwnDomain;
    KI_LOCK Lock;
    PUCHAR BounceVa;
    PFN_NUMBER BounceFrame;
    ULONG64 Used[(IOP_BOUNCE_REGISTERS + 63) / 64]; /* (Lock) bit per bounce register */
    BOOLEAN ChannelBusy;                            /* (Lock) KeepObject, or a routine runs */
    IOP_SET *Held;                                  /* (Lock) the channel's */
    PDEVICE_OBJECT HeldBy;
    BOOLEAN Granting;      /* (Lock) somebody serves the queue */
    IOP_SYSTEM_DMA System; /* (Lock) without Master */
    LIST_ENTRY Waiting, Sets, Lists, Buffers;
    LONG BufferCount, SetCount, ListCount, ListsMade; /* (Lock) */
} IOP_ADAPTER;

extern KI_LOCK IopDmaLock;
extern DMA_OPERATIONS IopDmaOperations1, IopDmaOperations2, IopDmaOperations; /* the last: version 3 */

/* The members of the table that each version adds: X(member, its type). */
#define IOP_OPERATIONS_VERSION1(X)                                                                                             \
    X(PutDmaAdapter, PPUT_DMA_ADAPTER)                                                                                         \
    X(AllocateCommonBuffer, PALLOCATE_COMMON_BUFFER)                                                                           \
    X(FreeCommonBuffer, PFREE_COMMON_BUFFER)                                                                                   \
    X(AllocateAdapterChannel, PALLOCATE_ADAPTER_CHANNEL)                                                                       \
    X(FlushAdapterBuffers, PFLUSH_ADAPTER_BUFFERS)                                                                             \
    X(FreeAdapterChannel, PFREE_ADAPTER_CHANNEL)                                                                               \
    X(FreeMapRegisters, PFREE_MAP_REGISTERS)                                                                                   \
    X(MapTransfer, PMAP_TRANSFER)                                                                                              \
    X(GetDmaAlignment, PGET_DMA_ALIGNMENT)                                                                                     \
    X(ReadDmaCounter, PREAD_DMA_COUNTER)                                                                                       \
    X(GetScatterGatherList, PGET_SCATTER_GATHER_LIST)                                                                          \
    X(PutScatterGatherList, PPUT_SCATTER_GATHER_LIST)
#define IOP_OPERATIONS_VERSION2(X)                                                                                             \
    X(CalculateScatterGatherList, PCALCULATE_SCATTER_GATHER_LIST_SIZE)                                                         \
    X(BuildScatterGatherList, PBUILD_SCATTER_GATHER_LIST)                                                                      \
    X(BuildMdlFromScatterGatherList, PBUILD_MDL_FROM_SCATTER_GATHER_LIST)
#define IOP_OPERATIONS_VERSION3(X)                                                                                             \
    X(GetDmaAdapterInfo, PGET_DMA_ADAPTER_INFO)                                                                                \
    X(GetDmaTransferInfo, PGET_DMA_TRANSFER_INFO)                                                                              \
    X(InitializeDmaTransferContext, PINITIALIZE_DMA_TRANSFER_CONTEXT)                                                          \
    X(AllocateCommonBufferEx, PALLOCATE_COMMON_BUFFER_EX)                                                                      \
    X(AllocateAdapterChannelEx, PALLOCATE_ADAPTER_CHANNEL_EX)                                                                  \
    X(ConfigureAdapterChannel, PCONFIGURE_ADAPTER_CHANNEL)                                                                     \
    X(CancelAdapterChannel, PCANCEL_ADAPTER_CHANNEL)                                                                           \
    X(MapTransferEx, PMAP_TRANSFER_EX)                                                                                         \
    X(GetScatterGatherListEx, PGET_SCATTER_GATHER_LIST_EX)                                                                     \
    X(BuildScatterGatherListEx, PBUILD_SCATTER_GATHER_LIST_EX)                                                                 \
    X(FlushAdapterBuffersEx, PFLUSH_ADAPTER_BUFFERS_EX)                                                                        \
    X(FreeAdapterObject, PFREE_ADAPTER_OBJECT)                                                                                 \
    X(CancelMappedTransfer, PCANCEL_MAPPED_TRANSFER)                                                                           \
    X(AllocateDomainCommonBuffer, PALLOCATE_DOMAIN_COMMON_BUFFER)                                                              \
    X(FlushDmaBuffer, PFLUSH_DMA_BUFFER)                                                                                       \
    X(JoinDmaDomain, PJOIN_DMA_DOMAIN)                                                                                         \
    X(LeaveDmaDomain, PLEAVE_DMA_DOMAIN)                                                                                       \
    X(GetDmaDomain, PGET_DMA_DOMAIN)                                                                                           \
    X(AllocateCommonBufferWithBounds, PALLOCATE_COMMON_BUFFER_WITH_BOUNDS)                                                     \
    X(AllocateCommonBufferVector, PALLOCATE_COMMON_BUFFER_VECTOR)                                                              \
    X(GetCommonBufferFromVectorByIndex, PGET_COMMON_BUFFER_FROM_VECTOR_BY_INDEX)                                               \
    X(FreeCommonBufferFromVector, PFREE_COMMON_BUFFER_FROM_VECTOR)                                                             \
    X(FreeCommonBufferVector, PFREE_COMMON_BUFFER_VECTOR)                                                                      \
    X(CreateCommonBufferFromMdl, PCREATE_COMMON_BUFFER_FROM_MDL)

/* The three tables, their members made by X: version 1's and 2's end where the next one's begin. */
#define IOP_TABLE_VERSION1(X)                                                                                                  \
    {                                                                                                                          \
        .Size = offsetof(DMA_OPERATIONS, CalculateScatterGatherList), IOP_OPERATIONS_VERSION1(X)                               \
    }
#define IOP_TABLE_VERSION2(X)                                                                                                  \
    {                                                                                                                          \
        .Size = offsetof(DMA_OPERATIONS, GetDmaAdapterInfo), IOP_OPERATIONS_VERSION1(X) IOP_OPERATIONS_VERSION2(X)             \
    }
#define IOP_TABLE_VERSION3(X)                                                                                                  \
    {                                                                                                                          \
        .Size = sizeof(DMA_OPERATIONS), IOP_OPERATIONS_VERSION1(X) IOP_OPERATIONS_VERSION2(X) IOP_OPERATIONS_VERSION3(X)       \
    }

/* dma.c: the adapter, or 0xE6/0x18, 0x19; Irql: the highest allowed (IOP_EXACTLY: the one wanted), or 0xE6/0x13. */
#define IOP_EXACTLY 0x80u
IOP_ADAPTER *IopCheckAdapter(PDMA_ADAPTER Public, UCHAR Irql);
DECLSPEC_NORETURN VOID IopDmaStop(const CHAR *Words, ULONG_PTR P1, ULONG_PTR P2, ULONG_PTR P3, ULONG_PTR P4);

PDMA_ADAPTER IopMakeAdapter(PDEVICE_OBJECT Device, PDEVICE_DESCRIPTION Description, PULONG NumberOfMapRegisters,
                            BOOLEAN Verified, ULONG Node); /* NULL: as IoGetDmaAdapter. <= DISPATCH_LEVEL */

/* An adapter of the device that is no bus master's, or NULL. */
IOP_ADAPTER *IopSystemAdapterOf(PDEVICE_OBJECT Device);

/* dmasys.c: nothing for bus masters. A transfer is mapped; it is flushed. */
VOID IopArmSystemDma(IOP_ADAPTER *Adapter, PHYSICAL_ADDRESS Logical, ULONG Length, BOOLEAN Write,
                     PDMA_COMPLETION_ROUTINE Routine, PVOID Context);
VOID IopDisarmSystemDma(IOP_ADAPTER *Adapter);
/* Who plays the functions of a device's channel of the system DMA controller (ConfigureAdapterChannel). The record is the caller's. */
typedef struct _IOP_CHANNEL_FUNCTIONS {
    LIST_ENTRY Link;
    PDEVICE_OBJECT Device;
    NTSTATUS (*Routine)(struct _IOP_CHANNEL_FUNCTIONS *Functions, ULONG Number, PVOID Context);
} IOP_CHANNEL_FUNCTIONS;
VOID IopSetChannelFunctions(IOP_CHANNEL_FUNCTIONS *Functions);
VOID IopForgetChannelFunctions(IOP_CHANNEL_FUNCTIONS *Functions); /* no call of them is under way then, or begins */
/* What the device does: moves bytes as the channel is programmed; returns how many. Any thread. */
ULONG IopSystemDmaTransfer(PDEVICE_OBJECT Device, PVOID Bytes, ULONG Length);

/* dmadom.c */
IOP_DOMAIN *IopCreateDomain(BOOLEAN Translates);
VOID IopDeleteDomain(IOP_DOMAIN *Domain);
/* Takes Pages logical pages in a row, [Low, High], from a multiple of Align (a power of two) on; nothing is to be seen there yet.
 * FALSE: there are none. <= DISPATCH_LEVEL. */
BOOLEAN IopReserveLogical(IOP_DOMAIN *Domain, ULONG Pages, ULONG Align, ULONG64 Low, ULONG64 High, ULONG *First);
VOID IopReleaseLogical(IOP_DOMAIN *Domain, ULONG First, ULONG Pages);
VOID IopMapLogical(IOP_DOMAIN *Domain, ULONG Page, PFN_NUMBER Frame, ULONG64 Access);
VOID IopUnmapLogical(IOP_DOMAIN *Domain, ULONG Page); /* stays taken */

IOP_DOMAIN *IopDomainOfDevice(PDEVICE_OBJECT Device); /* IopDmaLock is held. NULL: it has no adapter */
BOOLEAN IopIsDomain(HANDLE Handle);
VOID IopShutdownDma(VOID);

/* dmachan.c */
/* A request with the context begins: STATUS_SUCCESS, STATUS_INVALID_PARAMETER (it is none, or waits already), STATUS_CANCELLED. */
NTSTATUS IopTakeContext(IOP_ADAPTER *Adapter, PVOID DmaTransferContext);
/* What became of it: Granted, or Fresh again. NULL: nothing. */
VOID IopSettleContext(IOP_ADAPTER *Adapter, PVOID DmaTransferContext, IOP_CONTEXT_STATE State);
NTSTATUS IopQueueRequest(IOP_ADAPTER *Adapter, const IOP_DMA_REQUEST *Like); /* and serves the queue */
/* NULL: not that many free now, or no memory. TransferContext: of the request, or NULL. */
IOP_SET *IopGrantSet(IOP_ADAPTER *Adapter, ULONG Registers, PVOID TransferContext);
VOID IopFreeSet(IOP_SET *Set); /* not its link */
VOID IopServeQueue(IOP_ADAPTER *Adapter);
IOP_SET *IopCheckSet(IOP_ADAPTER *Adapter, PVOID MapRegisterBase);

/* dmamap.c */
/* The MDL of the chain that Offset lies in, with Offset made relative to it. NULL: beyond its end. */
PMDL IopFindMdl(PMDL Mdl, ULONGLONG *Offset);
BOOLEAN IopChainHolds(PMDL Mdl, ULONGLONG Offset, ULONG Length);
/* Maps a run from Offset of one MDL on; *Length comes back as what was mapped. */
PHYSICAL_ADDRESS IopMapRun(IOP_SET *Set, PMDL Mdl, ULONG Offset, PULONG Length, BOOLEAN Write);
/* Maps along the chain into the list, at most Room elements; *Length: what they hold. */
ULONG IopMapWhole(IOP_SET *Set, PMDL Mdl, ULONGLONG Offset, PULONG Length, BOOLEAN Write, PSCATTER_GATHER_LIST List,
                  ULONG Room);
/* Moves the bytes of a bounced piece between its buffer and its bounce pages. */
VOID IopBounce(IOP_SET *Set, const IOP_PIECE *Piece, BOOLEAN ToDevice);
/* Pages of the range, those that have to be bounced, and the elements a list of it has. */
typedef struct _IOP_NEED {
    ULONG Pages, Bounced, Elements;
} IOP_NEED;
VOID IopMeasure(IOP_ADAPTER *Adapter, PMDL Mdl, ULONGLONG Offset, ULONG Length, IOP_NEED *Need);
VOID IopCheckMdl(PMDL Mdl); /* 0xE6/0xE unless it is locked or nonpaged */

/* dmaflush.c */
VOID IopFlushSet(IOP_SET *Set, BOOLEAN Write); /* all that is mapped */
/* The bytes from Offset on of the chain. Va: for 0xE6/0x20. */
VOID IopFlushTransfer(IOP_SET *Set, PMDL Mdl, ULONGLONG Offset, ULONG Length, BOOLEAN Write, PVOID Va);
VOID IopTakeBackPiece(IOP_SET *Set); /* the last one that was mapped */
/* Forgets what is left of transfers that were flushed in part: in the range of the MDL, or (NULL) all. */
VOID IopDropRemnants(IOP_SET *Set, PMDL Mdl, ULONG Offset, ULONG Length);

/* dmaguard.c: what is done for verified adapters only. */
SIZE_T IopGuardedSize(ULONG Length);
PVOID IopGuardBuffer(PVOID Block, ULONG Length);
VOID IopCheckGuards(PVOID Buffer, ULONG Length);
VOID IopFillRegisters(IOP_ADAPTER *Adapter, ULONG First, ULONG Count);
VOID IopCheckRegisters(IOP_ADAPTER *Adapter, ULONG First, ULONG Count);
VOID IopCheckNotMapped(const IOP_SET *Set, PMDL Mdl, ULONG Offset, ULONG Length);
VOID IopCheckChain(IOP_ADAPTER *Adapter, PMDL Mdl, ULONGLONG Offset, ULONG Length);
VOID IopCheckRegisterCount(IOP_ADAPTER *Adapter, ULONG Count);

/* dmasg.c: the request's registers are there: builds the list and calls the driver. */
VOID IopDeliverList(IOP_LIST *List, IOP_SET *Set, PDEVICE_OBJECT Device);
/* FreeAdapterObject for the oldest list that holds the adapter object. FALSE: there is none. */
BOOLEAN IopReleaseHeldList(IOP_ADAPTER *Adapter, IO_ALLOCATION_ACTION Action);
VOID IopFreeSpentLists(IOP_ADAPTER *Adapter, PVOID Buffer); /* those in Buffer, or (NULL) all */
VOID IopFreeList(IOP_LIST *List);                           /* its memory alone; unlinked */
static inline PIRP IopCurrentIrp(PDEVICE_OBJECT Device)     /* of a device, or of none */
{
    return Device ? Device->CurrentIrp : NULL;
}

/* what a device does: dmadom.c. Any thread. Stops (0xE6/0x26) where the domain does not allow it. */
VOID IopDeviceAccess(PDEVICE_OBJECT Device, ULONG64 Logical, PVOID Bytes, SIZE_T Length, BOOLEAN Write);

/* ---- the operations, by file ---- */
extern GET_DMA_ALIGNMENT IopGetDmaAlignment;
extern READ_DMA_COUNTER IopReadDmaCounter;
extern GET_DMA_ADAPTER_INFO IopGetDmaAdapterInfo;
extern CONFIGURE_ADAPTER_CHANNEL IopConfigureAdapterChannel;
extern CANCEL_MAPPED_TRANSFER IopCancelMappedTransfer;
extern GET_DMA_DOMAIN IopGetDmaDomain;
extern JOIN_DMA_DOMAIN IopJoinDmaDomain;
extern LEAVE_DMA_DOMAIN IopLeaveDmaDomain;
extern PUT_DMA_ADAPTER IopPutDmaAdapter;
extern ALLOCATE_COMMON_BUFFER IopAllocateCommonBuffer;
extern FREE_COMMON_BUFFER IopFreeCommonBuffer;
extern ALLOCATE_ADAPTER_CHANNEL IopAllocateAdapterChannel;
extern FLUSH_ADAPTER_BUFFERS IopFlushAdapterBuffers;
extern FREE_ADAPTER_CHANNEL IopFreeAdapterChannel;
extern FREE_MAP_REGISTERS IopFreeMapRegisters;
extern MAP_TRANSFER IopMapTransfer;
extern GET_SCATTER_GATHER_LIST IopGetScatterGatherList;
extern PUT_SCATTER_GATHER_LIST IopPutScatterGatherList;
extern CALCULATE_SCATTER_GATHER_LIST_SIZE IopCalculateScatterGatherList;
extern BUILD_SCATTER_GATHER_LIST IopBuildScatterGatherList;
extern BUILD_MDL_FROM_SCATTER_GATHER_LIST IopBuildMdlFromScatterGatherList;
extern GET_DMA_TRANSFER_INFO IopGetDmaTransferInfo;
extern INITIALIZE_DMA_TRANSFER_CONTEXT IopInitializeDmaTransferContext;
extern ALLOCATE_COMMON_BUFFER_EX IopAllocateCommonBufferEx;
extern ALLOCATE_ADAPTER_CHANNEL_EX IopAllocateAdapterChannelEx;
extern CANCEL_ADAPTER_CHANNEL IopCancelAdapterChannel;
extern MAP_TRANSFER_EX IopMapTransferEx;
extern GET_SCATTER_GATHER_LIST_EX IopGetScatterGatherListEx;
extern BUILD_SCATTER_GATHER_LIST_EX IopBuildScatterGatherListEx;
extern FLUSH_ADAPTER_BUFFERS_EX IopFlushAdapterBuffersEx;
extern FREE_ADAPTER_OBJECT IopFreeAdapterObject;
extern ALLOCATE_DOMAIN_COMMON_BUFFER IopAllocateDomainCommonBuffer;
extern FLUSH_DMA_BUFFER IopFlushDmaBuffer;
extern ALLOCATE_COMMON_BUFFER_WITH_BOUNDS IopAllocateCommonBufferWithBounds;
extern ALLOCATE_COMMON_BUFFER_VECTOR IopAllocateCommonBufferVector;
extern GET_COMMON_BUFFER_FROM_VECTOR_BY_INDEX IopGetCommonBufferFromVectorByIndex;
extern FREE_COMMON_BUFFER_FROM_VECTOR IopFreeCommonBufferFromVector;
extern FREE_COMMON_BUFFER_VECTOR IopFreeCommonBufferVector;
extern CREATE_COMMON_BUFFER_FROM_MDL IopCreateCommonBufferFromMdl;
