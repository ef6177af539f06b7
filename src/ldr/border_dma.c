/*
 * border_dma.c - DMA operations for driver binaries: the table their adapters carry. SPDX-License-Identifier: MIT
 *
 * A driver calls DmaAdapter->DmaOperations->..., by Microsoft's convention where it is a binary. Its adapters, which come from
 * IoGetDmaAdapter across the border, point at these tables; each entry calls the one of src/io of the same name. Old binaries import
 * some of the operations by obsolete names (IoMapTransfer, HalAllocateCommonBuffer): they are the same, for an adapter of either kind.
 */
#include "ldr/border_special.h"
#include "io/dmap.h"
#include "io/pnp.h"

static VOID LDR_BORDER Dma_PutDmaAdapter(PDMA_ADAPTER DmaAdapter)
{
    KI_CALLED_BY_FOREIGN;
    IopDmaOperations.PutDmaAdapter(DmaAdapter);
}
static PVOID LDR_BORDER Dma_AllocateCommonBuffer(PDMA_ADAPTER DmaAdapter, ULONG Length, PPHYSICAL_ADDRESS LogicalAddress,
                                                 BOOLEAN CacheEnabled)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.AllocateCommonBuffer(DmaAdapter, Length, LogicalAddress, CacheEnabled);
}
static VOID LDR_BORDER Dma_FreeCommonBuffer(PDMA_ADAPTER DmaAdapter, ULONG Length, PHYSICAL_ADDRESS LogicalAddress,
                                            PVOID VirtualAddress, BOOLEAN CacheEnabled)
{
    KI_CALLED_BY_FOREIGN;
    IopDmaOperations.FreeCommonBuffer(DmaAdapter, Length, LogicalAddress, VirtualAddress, CacheEnabled);
}
static NTSTATUS LDR_BORDER Dma_AllocateAdapterChannel(PDMA_ADAPTER DmaAdapter, struct _DEVICE_OBJECT *DeviceObject,
                                                      ULONG NumberOfMapRegisters, PDRIVER_CONTROL ExecutionRoutine,
                                                      PVOID Context)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.AllocateAdapterChannel(DmaAdapter, DeviceObject, NumberOfMapRegisters, ExecutionRoutine, Context);
}
static BOOLEAN LDR_BORDER Dma_FlushAdapterBuffers(PDMA_ADAPTER DmaAdapter, PMDL Mdl, PVOID MapRegisterBase, PVOID CurrentVa,
                                                  ULONG Length, BOOLEAN WriteToDevice)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.FlushAdapterBuffers(DmaAdapter, Mdl, MapRegisterBase, CurrentVa, Length, WriteToDevice);
}
static VOID LDR_BORDER Dma_FreeAdapterChannel(PDMA_ADAPTER DmaAdapter)
{
    KI_CALLED_BY_FOREIGN;
    IopDmaOperations.FreeAdapterChannel(DmaAdapter);
}
static VOID LDR_BORDER Dma_FreeMapRegisters(PDMA_ADAPTER DmaAdapter, PVOID MapRegisterBase, ULONG NumberOfMapRegisters)
{
    KI_CALLED_BY_FOREIGN;
    IopDmaOperations.FreeMapRegisters(DmaAdapter, MapRegisterBase, NumberOfMapRegisters);
}
static PHYSICAL_ADDRESS LDR_BORDER Dma_MapTransfer(PDMA_ADAPTER DmaAdapter, PMDL Mdl, PVOID MapRegisterBase, PVOID CurrentVa,
                                                   PULONG Length, BOOLEAN WriteToDevice)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.MapTransfer(DmaAdapter, Mdl, MapRegisterBase, CurrentVa, Length, WriteToDevice);
}
static ULONG LDR_BORDER Dma_GetDmaAlignment(PDMA_ADAPTER DmaAdapter)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.GetDmaAlignment(DmaAdapter);
}
static ULONG LDR_BORDER Dma_ReadDmaCounter(PDMA_ADAPTER DmaAdapter)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.ReadDmaCounter(DmaAdapter);
}
static NTSTATUS LDR_BORDER Dma_GetScatterGatherList(PDMA_ADAPTER DmaAdapter, struct _DEVICE_OBJECT *DeviceObject, PMDL Mdl,
                                                    PVOID CurrentVa, ULONG Length, PDRIVER_LIST_CONTROL ExecutionRoutine,
                                                    PVOID Context, BOOLEAN WriteToDevice)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.GetScatterGatherList(DmaAdapter, DeviceObject, Mdl, CurrentVa, Length, ExecutionRoutine, Context,
                                                 WriteToDevice);
}
static VOID LDR_BORDER Dma_PutScatterGatherList(PDMA_ADAPTER DmaAdapter, PSCATTER_GATHER_LIST ScatterGather,
                                                BOOLEAN WriteToDevice)
{
    KI_CALLED_BY_FOREIGN;
    IopDmaOperations.PutScatterGatherList(DmaAdapter, ScatterGather, WriteToDevice);
}
static NTSTATUS LDR_BORDER Dma_CalculateScatterGatherList(PDMA_ADAPTER DmaAdapter, PMDL Mdl, PVOID CurrentVa, ULONG Length,
                                                          PULONG ScatterGatherListSize, PULONG pNumberOfMapRegisters)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.CalculateScatterGatherList(DmaAdapter, Mdl, CurrentVa, Length, ScatterGatherListSize,
                                                       pNumberOfMapRegisters);
}
static NTSTATUS LDR_BORDER Dma_BuildScatterGatherList(PDMA_ADAPTER DmaAdapter, struct _DEVICE_OBJECT *DeviceObject, PMDL Mdl,
                                                      PVOID CurrentVa, ULONG Length, PDRIVER_LIST_CONTROL ExecutionRoutine,
                                                      PVOID Context, BOOLEAN WriteToDevice, PVOID ScatterGatherBuffer,
                                                      ULONG ScatterGatherLength)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.BuildScatterGatherList(DmaAdapter, DeviceObject, Mdl, CurrentVa, Length, ExecutionRoutine, Context,
                                                   WriteToDevice, ScatterGatherBuffer, ScatterGatherLength);
}
static NTSTATUS LDR_BORDER Dma_BuildMdlFromScatterGatherList(PDMA_ADAPTER DmaAdapter, PSCATTER_GATHER_LIST ScatterGather,
                                                             PMDL OriginalMdl, PMDL *TargetMdl)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.BuildMdlFromScatterGatherList(DmaAdapter, ScatterGather, OriginalMdl, TargetMdl);
}
static NTSTATUS LDR_BORDER Dma_GetDmaAdapterInfo(PDMA_ADAPTER DmaAdapter, PDMA_ADAPTER_INFO AdapterInfo)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.GetDmaAdapterInfo(DmaAdapter, AdapterInfo);
}
static NTSTATUS LDR_BORDER Dma_GetDmaTransferInfo(PDMA_ADAPTER DmaAdapter, PMDL Mdl, ULONGLONG Offset, ULONG Length,
                                                  BOOLEAN WriteOnly, PDMA_TRANSFER_INFO TransferInfo)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.GetDmaTransferInfo(DmaAdapter, Mdl, Offset, Length, WriteOnly, TransferInfo);
}
static NTSTATUS LDR_BORDER Dma_InitializeDmaTransferContext(PDMA_ADAPTER DmaAdapter, PVOID DmaTransferContext)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.InitializeDmaTransferContext(DmaAdapter, DmaTransferContext);
}
static PVOID LDR_BORDER Dma_AllocateCommonBufferEx(PDMA_ADAPTER DmaAdapter, PPHYSICAL_ADDRESS MaximumAddress, ULONG Length,
                                                   PPHYSICAL_ADDRESS LogicalAddress, BOOLEAN CacheEnabled,
                                                   NODE_REQUIREMENT PreferredNode)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.AllocateCommonBufferEx(DmaAdapter, MaximumAddress, Length, LogicalAddress, CacheEnabled,
                                                   PreferredNode);
}
static NTSTATUS LDR_BORDER Dma_AllocateAdapterChannelEx(PDMA_ADAPTER DmaAdapter, struct _DEVICE_OBJECT *DeviceObject,
                                                        PVOID DmaTransferContext, ULONG NumberOfMapRegisters, ULONG Flags,
                                                        PDRIVER_CONTROL ExecutionRoutine, PVOID ExecutionContext,
                                                        PVOID *MapRegisterBase)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.AllocateAdapterChannelEx(DmaAdapter, DeviceObject, DmaTransferContext, NumberOfMapRegisters, Flags,
                                                     ExecutionRoutine, ExecutionContext, MapRegisterBase);
}
static NTSTATUS LDR_BORDER Dma_ConfigureAdapterChannel(PDMA_ADAPTER DmaAdapter, ULONG FunctionNumber, PVOID Context)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.ConfigureAdapterChannel(DmaAdapter, FunctionNumber, Context);
}
static BOOLEAN LDR_BORDER Dma_CancelAdapterChannel(PDMA_ADAPTER DmaAdapter, struct _DEVICE_OBJECT *DeviceObject,
                                                   PVOID DmaTransferContext)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.CancelAdapterChannel(DmaAdapter, DeviceObject, DmaTransferContext);
}
static NTSTATUS LDR_BORDER Dma_MapTransferEx(PDMA_ADAPTER DmaAdapter, PMDL Mdl, PVOID MapRegisterBase, ULONGLONG Offset,
                                             ULONG DeviceOffset, PULONG Length, BOOLEAN WriteToDevice,
                                             PSCATTER_GATHER_LIST ScatterGatherBuffer, ULONG ScatterGatherBufferLength,
                                             PDMA_COMPLETION_ROUTINE DmaCompletionRoutine, PVOID CompletionContext)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.MapTransferEx(DmaAdapter, Mdl, MapRegisterBase, Offset, DeviceOffset, Length, WriteToDevice,
                                          ScatterGatherBuffer, ScatterGatherBufferLength, DmaCompletionRoutine,
                                          CompletionContext);
}
static NTSTATUS LDR_BORDER Dma_GetScatterGatherListEx(PDMA_ADAPTER DmaAdapter, struct _DEVICE_OBJECT *DeviceObject,
                                                      PVOID DmaTransferContext, PMDL Mdl, ULONGLONG Offset, ULONG Length,
                                                      ULONG Flags, PDRIVER_LIST_CONTROL ExecutionRoutine, PVOID Context,
                                                      BOOLEAN WriteToDevice, PDMA_COMPLETION_ROUTINE DmaCompletionRoutine,
                                                      PVOID CompletionContext, PSCATTER_GATHER_LIST *ScatterGatherList)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.GetScatterGatherListEx(DmaAdapter, DeviceObject, DmaTransferContext, Mdl, Offset, Length, Flags,
                                                   ExecutionRoutine, Context, WriteToDevice, DmaCompletionRoutine,
                                                   CompletionContext, ScatterGatherList);
}
static NTSTATUS LDR_BORDER Dma_BuildScatterGatherListEx(PDMA_ADAPTER DmaAdapter, struct _DEVICE_OBJECT *DeviceObject,
                                                        PVOID DmaTransferContext, PMDL Mdl, ULONGLONG Offset, ULONG Length,
                                                        ULONG Flags, PDRIVER_LIST_CONTROL ExecutionRoutine, PVOID Context,
                                                        BOOLEAN WriteToDevice, PVOID ScatterGatherBuffer,
                                                        ULONG ScatterGatherLength, PDMA_COMPLETION_ROUTINE DmaCompletionRoutine,
                                                        PVOID CompletionContext, PVOID ScatterGatherList)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.BuildScatterGatherListEx(
        DmaAdapter, DeviceObject, DmaTransferContext, Mdl, Offset, Length, Flags, ExecutionRoutine, Context, WriteToDevice,
        ScatterGatherBuffer, ScatterGatherLength, DmaCompletionRoutine, CompletionContext, ScatterGatherList);
}
static NTSTATUS LDR_BORDER Dma_FlushAdapterBuffersEx(PDMA_ADAPTER DmaAdapter, PMDL Mdl, PVOID MapRegisterBase, ULONGLONG Offset,
                                                     ULONG Length, BOOLEAN WriteToDevice)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.FlushAdapterBuffersEx(DmaAdapter, Mdl, MapRegisterBase, Offset, Length, WriteToDevice);
}
static VOID LDR_BORDER Dma_FreeAdapterObject(PDMA_ADAPTER DmaAdapter, IO_ALLOCATION_ACTION AllocationAction)
{
    KI_CALLED_BY_FOREIGN;
    IopDmaOperations.FreeAdapterObject(DmaAdapter, AllocationAction);
}
static NTSTATUS LDR_BORDER Dma_CancelMappedTransfer(PDMA_ADAPTER DmaAdapter, PVOID DmaTransferContext)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.CancelMappedTransfer(DmaAdapter, DmaTransferContext);
}
static NTSTATUS LDR_BORDER Dma_AllocateDomainCommonBuffer(PDMA_ADAPTER DmaAdapter, HANDLE DomainHandle,
                                                          PPHYSICAL_ADDRESS MaximumAddress, ULONG Length, ULONG Flags,
                                                          MEMORY_CACHING_TYPE *CacheType, NODE_REQUIREMENT PreferredNode,
                                                          PPHYSICAL_ADDRESS LogicalAddress, PVOID *VirtualAddress)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.AllocateDomainCommonBuffer(DmaAdapter, DomainHandle, MaximumAddress, Length, Flags, CacheType,
                                                       PreferredNode, LogicalAddress, VirtualAddress);
}
static NTSTATUS LDR_BORDER Dma_FlushDmaBuffer(PDMA_ADAPTER DmaAdapter, PMDL Mdl, BOOLEAN ReadOperation)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.FlushDmaBuffer(DmaAdapter, Mdl, ReadOperation);
}
static NTSTATUS LDR_BORDER Dma_JoinDmaDomain(PDMA_ADAPTER DmaAdapter, HANDLE DomainHandle)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.JoinDmaDomain(DmaAdapter, DomainHandle);
}
static NTSTATUS LDR_BORDER Dma_LeaveDmaDomain(PDMA_ADAPTER DmaAdapter)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.LeaveDmaDomain(DmaAdapter);
}
static HANDLE LDR_BORDER Dma_GetDmaDomain(PDMA_ADAPTER DmaAdapter)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.GetDmaDomain(DmaAdapter);
}
static PVOID LDR_BORDER Dma_AllocateCommonBufferWithBounds(PDMA_ADAPTER DmaAdapter, PPHYSICAL_ADDRESS MinimumAddress,
                                                           PPHYSICAL_ADDRESS MaximumAddress, ULONG Length, ULONG Flags,
                                                           MEMORY_CACHING_TYPE *CacheType, NODE_REQUIREMENT PreferredNode,
                                                           PPHYSICAL_ADDRESS LogicalAddress)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.AllocateCommonBufferWithBounds(DmaAdapter, MinimumAddress, MaximumAddress, Length, Flags, CacheType,
                                                           PreferredNode, LogicalAddress);
}
static NTSTATUS LDR_BORDER Dma_AllocateCommonBufferVector(PDMA_ADAPTER DmaAdapter, PHYSICAL_ADDRESS LowAddress,
                                                          PHYSICAL_ADDRESS HighAddress, MEMORY_CACHING_TYPE CacheType,
                                                          ULONG IdealNode, ULONG Flags, ULONG NumberOfElements,
                                                          ULONGLONG SizeOfElements, PDMA_COMMON_BUFFER_VECTOR *VectorOut)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.AllocateCommonBufferVector(DmaAdapter, LowAddress, HighAddress, CacheType, IdealNode, Flags,
                                                       NumberOfElements, SizeOfElements, VectorOut);
}
static VOID LDR_BORDER Dma_GetCommonBufferFromVectorByIndex(PDMA_ADAPTER DmaAdapter, PDMA_COMMON_BUFFER_VECTOR Vector,
                                                            ULONG Index, PVOID *VirtualAddressOut,
                                                            PPHYSICAL_ADDRESS LogicalAddressOut)
{
    KI_CALLED_BY_FOREIGN;
    IopDmaOperations.GetCommonBufferFromVectorByIndex(DmaAdapter, Vector, Index, VirtualAddressOut, LogicalAddressOut);
}
static VOID LDR_BORDER Dma_FreeCommonBufferFromVector(PDMA_ADAPTER DmaAdapter, PDMA_COMMON_BUFFER_VECTOR Vector, ULONG Index)
{
    KI_CALLED_BY_FOREIGN;
    IopDmaOperations.FreeCommonBufferFromVector(DmaAdapter, Vector, Index);
}
static VOID LDR_BORDER Dma_FreeCommonBufferVector(PDMA_ADAPTER DmaAdapter, PDMA_COMMON_BUFFER_VECTOR Vector)
{
    KI_CALLED_BY_FOREIGN;
    IopDmaOperations.FreeCommonBufferVector(DmaAdapter, Vector);
}
static NTSTATUS LDR_BORDER Dma_CreateCommonBufferFromMdl(PDMA_ADAPTER DmaAdapter, PMDL Mdl,
                                                         PDMA_COMMON_BUFFER_EXTENDED_CONFIGURATION ExtendedConfigs,
                                                         ULONG ExtendedConfigsCount, PPHYSICAL_ADDRESS LogicalAddress)
{
    KI_CALLED_BY_FOREIGN;
    return IopDmaOperations.CreateCommonBufferFromMdl(DmaAdapter, Mdl, ExtendedConfigs, ExtendedConfigsCount, LogicalAddress);
}

#define LDR_MEMBER(Name, Type) .Name = (Type)(ULONG_PTR)Dma_##Name,
static DMA_OPERATIONS LdrpDmaOperations1 = IOP_TABLE_VERSION1(LDR_MEMBER);
static DMA_OPERATIONS LdrpDmaOperations2 = IOP_TABLE_VERSION2(LDR_MEMBER);
static DMA_OPERATIONS LdrpDmaOperations3 = IOP_TABLE_VERSION3(LDR_MEMBER);

/* An adapter that is ours; those of another bus driver have its own table. */
static PDMA_ADAPTER LdrpShowAdapter(PDMA_ADAPTER Adapter)
{
    if (Adapter && Adapter->DmaOperations == &IopDmaOperations1)
        Adapter->DmaOperations = &LdrpDmaOperations1;
    else if (Adapter && Adapter->DmaOperations == &IopDmaOperations2)
        Adapter->DmaOperations = &LdrpDmaOperations2;
    else if (Adapter && Adapter->DmaOperations == &IopDmaOperations)
        Adapter->DmaOperations = &LdrpDmaOperations3;
    return Adapter;
}

/* ---- GUID_BUS_INTERFACE_STANDARD ---- */
static VOID LDR_BORDER Bus_InterfaceReference(PVOID Context)
{
    KI_CALLED_BY_FOREIGN;
    IopBusInterface.InterfaceReference(Context);
}
static VOID LDR_BORDER Bus_InterfaceDereference(PVOID Context)
{
    KI_CALLED_BY_FOREIGN;
    IopBusInterface.InterfaceDereference(Context);
}
static BOOLEAN LDR_BORDER Bus_TranslateBusAddress(PVOID Context, PHYSICAL_ADDRESS BusAddress, ULONG Length, PULONG AddressSpace,
                                                  PPHYSICAL_ADDRESS TranslatedAddress)
{
    KI_CALLED_BY_FOREIGN;
    return IopBusInterface.TranslateBusAddress(Context, BusAddress, Length, AddressSpace, TranslatedAddress);
}
static PDMA_ADAPTER LDR_BORDER Bus_GetDmaAdapter(PVOID Context, PDEVICE_DESCRIPTION Description, PULONG NumberOfMapRegisters)
{
    KI_CALLED_BY_FOREIGN;
    return LdrpShowAdapter(IopBusInterface.GetDmaAdapter(Context, Description, NumberOfMapRegisters));
}
static ULONG LDR_BORDER Bus_SetBusData(PVOID Context, ULONG DataType, PVOID Buffer, ULONG Offset, ULONG Length)
{
    KI_CALLED_BY_FOREIGN;
    return IopBusInterface.SetBusData(Context, DataType, Buffer, Offset, Length);
}
static ULONG LDR_BORDER Bus_GetBusData(PVOID Context, ULONG DataType, PVOID Buffer, ULONG Offset, ULONG Length)
{
    KI_CALLED_BY_FOREIGN;
    return IopBusInterface.GetBusData(Context, DataType, Buffer, Offset, Length);
}
const BUS_INTERFACE_STANDARD LdrpBusInterface = {
    .Size = sizeof(BUS_INTERFACE_STANDARD),
    .Version = 1,
    .InterfaceReference = (PINTERFACE_REFERENCE)(ULONG_PTR)Bus_InterfaceReference,
    .InterfaceDereference = (PINTERFACE_DEREFERENCE)(ULONG_PTR)Bus_InterfaceDereference,
    .TranslateBusAddress = (PTRANSLATE_BUS_ADDRESS)(ULONG_PTR)Bus_TranslateBusAddress,
    .GetDmaAdapter = (PGET_DMA_ADAPTER)(ULONG_PTR)Bus_GetDmaAdapter,
    .SetBusData = (PGET_SET_DEVICE_DATA)(ULONG_PTR)Bus_SetBusData,
    .GetBusData = (PGET_SET_DEVICE_DATA)(ULONG_PTR)Bus_GetBusData,
};

PDMA_ADAPTER LDR_BORDER Border_IoGetDmaAdapter(PDEVICE_OBJECT PhysicalDeviceObject, PDEVICE_DESCRIPTION DeviceDescription,
                                               PULONG NumberOfMapRegisters)
{
    KI_CALLED_BY_FOREIGN;
    LDR_IRQL_RULE("IoGetDmaAdapter");
    PDMA_ADAPTER Adapter = IoGetDmaAdapter(PhysicalDeviceObject, DeviceDescription, NumberOfMapRegisters);
    return LdrpShowAdapter(Adapter);
}

PADAPTER_OBJECT LDR_BORDER Border_HalGetAdapter(PDEVICE_DESCRIPTION DeviceDescription, PULONG NumberOfMapRegisters)
{
    KI_CALLED_BY_FOREIGN;
    return Border_IoGetDmaAdapter(NULL, DeviceDescription, NumberOfMapRegisters);
}

NTSTATUS LDR_BORDER Border_IoAllocateAdapterChannel(PDMA_ADAPTER DmaAdapter, struct _DEVICE_OBJECT *DeviceObject,
                                                    ULONG NumberOfMapRegisters, PDRIVER_CONTROL ExecutionRoutine, PVOID Context)
{
    KI_CALLED_BY_FOREIGN;
    return Dma_AllocateAdapterChannel(DmaAdapter, DeviceObject, NumberOfMapRegisters, ExecutionRoutine, Context);
}

BOOLEAN LDR_BORDER Border_IoFlushAdapterBuffers(PDMA_ADAPTER DmaAdapter, PMDL Mdl, PVOID MapRegisterBase, PVOID CurrentVa,
                                                ULONG Length, BOOLEAN WriteToDevice)
{
    KI_CALLED_BY_FOREIGN;
    return Dma_FlushAdapterBuffers(DmaAdapter, Mdl, MapRegisterBase, CurrentVa, Length, WriteToDevice);
}

VOID LDR_BORDER Border_IoFreeAdapterChannel(PDMA_ADAPTER DmaAdapter)
{
    KI_CALLED_BY_FOREIGN;
    Dma_FreeAdapterChannel(DmaAdapter);
}

VOID LDR_BORDER Border_IoFreeMapRegisters(PDMA_ADAPTER DmaAdapter, PVOID MapRegisterBase, ULONG NumberOfMapRegisters)
{
    KI_CALLED_BY_FOREIGN;
    Dma_FreeMapRegisters(DmaAdapter, MapRegisterBase, NumberOfMapRegisters);
}

PHYSICAL_ADDRESS LDR_BORDER Border_IoMapTransfer(PDMA_ADAPTER DmaAdapter, PMDL Mdl, PVOID MapRegisterBase, PVOID CurrentVa,
                                                 PULONG Length, BOOLEAN WriteToDevice)
{
    KI_CALLED_BY_FOREIGN;
    return Dma_MapTransfer(DmaAdapter, Mdl, MapRegisterBase, CurrentVa, Length, WriteToDevice);
}

PVOID LDR_BORDER Border_HalAllocateCommonBuffer(PDMA_ADAPTER DmaAdapter, ULONG Length, PPHYSICAL_ADDRESS LogicalAddress,
                                                BOOLEAN CacheEnabled)
{
    KI_CALLED_BY_FOREIGN;
    return Dma_AllocateCommonBuffer(DmaAdapter, Length, LogicalAddress, CacheEnabled);
}

VOID LDR_BORDER Border_HalFreeCommonBuffer(PDMA_ADAPTER DmaAdapter, ULONG Length, PHYSICAL_ADDRESS LogicalAddress,
                                           PVOID VirtualAddress, BOOLEAN CacheEnabled)
{
    KI_CALLED_BY_FOREIGN;
    Dma_FreeCommonBuffer(DmaAdapter, Length, LogicalAddress, VirtualAddress, CacheEnabled);
}

ULONG LDR_BORDER Border_HalReadDmaCounter(PDMA_ADAPTER DmaAdapter)
{
    KI_CALLED_BY_FOREIGN;
    return Dma_ReadDmaCounter(DmaAdapter);
}
