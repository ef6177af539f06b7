/*
 * border_special.h - the hand-written entries, for the table in border.c. SPDX-License-Identifier: MIT
 */
#pragma once
#include <ntifs.h>
#include "ldr/border.h"
#include "rtl/rtlp.h"

/* The host's forms take its own, wider type. */
#define towupper RtlpCrt_towupper
#define towlower RtlpCrt_towlower
typedef int (*LDRP_COMPARE)(const void *, const void *);

/* At system start: the bounds of the border's code, and which entries a foreign lookaside list carries. */
VOID LdrpInitBorder(VOID);
BOOLEAN LdrpNarrowName(PUNICODE_STRING Name, CHAR *Narrow, ULONG Room); /* FALSE: it is none */
const LDR_ENTRY *LdrpFindWide(PUNICODE_STRING Name);

PVOID LDR_BORDER Border_MmGetSystemRoutineAddress(PUNICODE_STRING Name);
VOID KI_MSABI Border_RtlCaptureContext(PCONTEXT Context); /* capture.S */
VOID LDR_BORDER Border_ExInitializeNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside, PALLOCATE_FUNCTION Allocate,
                                                       PFREE_FUNCTION Free, ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth);
VOID LDR_BORDER Border_ExInitializePagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside, PALLOCATE_FUNCTION Allocate,
                                                      PFREE_FUNCTION Free, ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth);
NTSTATUS LDR_BORDER Border_ExInitializeLookasideListEx(PLOOKASIDE_LIST_EX Lookaside, PALLOCATE_FUNCTION_EX Allocate,
                                                       PFREE_FUNCTION_EX Free, POOL_TYPE PoolType, ULONG Flags, SIZE_T Size,
                                                       ULONG Tag, USHORT Depth);
PDMA_ADAPTER LDR_BORDER Border_IoGetDmaAdapter(PDEVICE_OBJECT PhysicalDeviceObject, PDEVICE_DESCRIPTION DeviceDescription,
                                               PULONG NumberOfMapRegisters); /* border_dma.c */
extern const BUS_INTERFACE_STANDARD LdrpBusInterface;                        /* border_dma.c */
/* The obsolete names of the operations. */
NTSTATUS LDR_BORDER Border_IoAllocateAdapterChannel(PDMA_ADAPTER DmaAdapter, struct _DEVICE_OBJECT *DeviceObject,
                                                    ULONG NumberOfMapRegisters, PDRIVER_CONTROL ExecutionRoutine,
                                                    PVOID Context);
BOOLEAN LDR_BORDER Border_IoFlushAdapterBuffers(PDMA_ADAPTER DmaAdapter, PMDL Mdl, PVOID MapRegisterBase, PVOID CurrentVa,
                                                ULONG Length, BOOLEAN WriteToDevice);
VOID LDR_BORDER Border_IoFreeAdapterChannel(PDMA_ADAPTER DmaAdapter);
VOID LDR_BORDER Border_IoFreeMapRegisters(PDMA_ADAPTER DmaAdapter, PVOID MapRegisterBase, ULONG NumberOfMapRegisters);
PHYSICAL_ADDRESS LDR_BORDER Border_IoMapTransfer(PDMA_ADAPTER DmaAdapter, PMDL Mdl, PVOID MapRegisterBase, PVOID CurrentVa,
                                                 PULONG Length, BOOLEAN WriteToDevice);
PVOID LDR_BORDER Border_HalAllocateCommonBuffer(PDMA_ADAPTER DmaAdapter, ULONG Length, PPHYSICAL_ADDRESS LogicalAddress,
                                                BOOLEAN CacheEnabled);
VOID LDR_BORDER Border_HalFreeCommonBuffer(PDMA_ADAPTER DmaAdapter, ULONG Length, PHYSICAL_ADDRESS LogicalAddress,
                                           PVOID VirtualAddress, BOOLEAN CacheEnabled);
ULONG LDR_BORDER Border_HalReadDmaCounter(PDMA_ADAPTER DmaAdapter);
PADAPTER_OBJECT LDR_BORDER Border_HalGetAdapter(PDEVICE_DESCRIPTION DeviceDescription, PULONG NumberOfMapRegisters);
ULONG LDR_BORDER Border_DbgPrint(PCSTR Format, ...);
ULONG LDR_BORDER Border_DbgPrintEx(ULONG ComponentId, ULONG Level, PCSTR Format, ...);
ULONG LDR_BORDER Border_vDbgPrintEx(ULONG ComponentId, ULONG Level, PCCH Format, PVOID List);
ULONG LDR_BORDER Border_vDbgPrintExWithPrefix(PCCH Prefix, ULONG ComponentId, ULONG Level, PCCH Format, PVOID List);
int LDR_BORDER Border__snprintf(char *Buffer, size_t Count, const char *Format, ...);
int LDR_BORDER Border__vsnprintf(char *Buffer, size_t Count, const char *Format, PVOID List);
int LDR_BORDER Border__snwprintf(WCHAR *Buffer, size_t Count, const WCHAR *Format, ...);
int LDR_BORDER Border__vsnwprintf(WCHAR *Buffer, size_t Count, const WCHAR *Format, PVOID List);
int LDR_BORDER Border__snprintf_s(char *Buffer, size_t Size, size_t Count, const char *Format, ...);
int LDR_BORDER Border__vsnprintf_s(char *Buffer, size_t Size, size_t Count, const char *Format, PVOID List);
int LDR_BORDER Border__snwprintf_s(WCHAR *Buffer, size_t Size, size_t Count, const WCHAR *Format, ...);
int LDR_BORDER Border__vsnwprintf_s(WCHAR *Buffer, size_t Size, size_t Count, const WCHAR *Format, PVOID List);
int LDR_BORDER Border_sprintf(char *Buffer, const char *Format, ...);
int LDR_BORDER Border_vsprintf(char *Buffer, const char *Format, PVOID List);
int LDR_BORDER Border_swprintf(WCHAR *Buffer, const WCHAR *Format, ...);
int LDR_BORDER Border_vswprintf(WCHAR *Buffer, const WCHAR *Format, PVOID List);
int LDR_BORDER Border_sprintf_s(char *Buffer, size_t Size, const char *Format, ...);
int LDR_BORDER Border_vsprintf_s(char *Buffer, size_t Size, const char *Format, PVOID List);
int LDR_BORDER Border_swprintf_s(WCHAR *Buffer, size_t Size, const WCHAR *Format, ...);
int LDR_BORDER Border_vswprintf_s(WCHAR *Buffer, size_t Size, const WCHAR *Format, PVOID List);
WCHAR LDR_BORDER Border_towupper(WCHAR Character);
WCHAR LDR_BORDER Border_towlower(WCHAR Character);
void LDR_BORDER Border_qsort(void *Base, size_t Count, size_t Size, LDRP_COMPARE Compare);
void *LDR_BORDER Border_bsearch(const void *Key, const void *Base, size_t Count, size_t Size, LDRP_COMPARE Compare);
void *LDR_BORDER Border_memcpy(void *Target, const void *Source, size_t Count);
void *LDR_BORDER Border_memmove(void *Target, const void *Source, size_t Count);
void *LDR_BORDER Border_memset(void *Target, int Value, size_t Count);
int LDR_BORDER Border_memcmp(const void *One, const void *Two, size_t Count);
const void *LDR_BORDER Border_memchr(const void *Bytes, int Value, size_t Count);
VOID LdrpZeroMemory(VOID *Target, SIZE_T Length);
VOID LdrpFillMemory(VOID *Target, SIZE_T Length, int Fill);
VOID LDR_BORDER Border_RtlZeroMemory(VOID *Target, SIZE_T Length);
VOID LDR_BORDER Border_RtlFillMemory(VOID *Target, SIZE_T Length, int Fill);
