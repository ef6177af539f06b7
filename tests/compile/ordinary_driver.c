/*
 * ordinary_driver.c - driver source as drivers are written: every word of Microsoft's compiler and kit that
 * ordinary source uses. It compiles unchanged with gcc and clang, warnings as errors; running its DriverEntry
 * is a test of its own. SPDX-License-Identifier: MIT
 */
#include <ntddk.h>
#include <ntstrsafe.h>
#include <ntintsafe.h>

#pragma warning(push)
#pragma warning(disable : 4201 4214)
#pragma warning(pop)

#define DRIVER_TAG         'tseT'
#define IOCTL_ORDINARY_GET CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_ORDINARY_PUT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_IN_DIRECT, FILE_READ_ACCESS | FILE_WRITE_ACCESS)
C_ASSERT(IOCTL_ORDINARY_GET == 0x222000);

EXTERN_C_START
DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD OrdinaryUnload;
_Dispatch_type_(IRP_MJ_CREATE) _Dispatch_type_(IRP_MJ_CLOSE) DRIVER_DISPATCH OrdinaryCreateClose;
__drv_dispatchType(IRP_MJ_DEVICE_CONTROL) DRIVER_DISPATCH OrdinaryControl;
IO_COMPLETION_ROUTINE OrdinaryCompleted;
KDEFERRED_ROUTINE OrdinaryDpc;
KSTART_ROUTINE OrdinaryThread;
WORKER_THREAD_ROUTINE OrdinaryWork;
IO_WORKITEM_ROUTINE OrdinaryWorkItem;
DRIVER_CANCEL OrdinaryCancel;
DRIVER_ADD_DEVICE OrdinaryAddDevice;
DRIVER_STARTIO OrdinaryStartIo;
IO_DPC_ROUTINE OrdinaryDpcForIsr;
IO_TIMER_ROUTINE OrdinaryTimer;
EXTERN_C_END

#ifdef ALLOC_PRAGMA
#pragma alloc_text(INIT, DriverEntry)
#pragma alloc_text(PAGE, OrdinaryUnload)
#endif
#pragma code_seg(push, "PAGE")
#pragma code_seg(pop)
#pragma prefast(suppress : 28167, "a comment")
#pragma data_seg("PAGEDATA")
#pragma data_seg()
#pragma comment(lib, "nothing.lib")

typedef struct _DEVICE_EXTENSION {
    KSPIN_LOCK Lock;
    _Guarded_by_(Lock) LIST_ENTRY Queue;
    volatile LONG Count;
    union {
        struct {
            UCHAR Low, High;
        }; /* anonymous, as Microsoft's compiler has it */
        USHORT Word;
    };
    UNICODE_STRING Link;
    __declspec(align(16)) SLIST_HEADER Free;
    _Field_size_bytes_(Length) PVOID Buffer;
    SIZE_T Length;
} DEVICE_EXTENSION, *PDEVICE_EXTENSION;

typedef struct DECLSPEC_ALIGN(64) _CACHE_LINE {
    __int64 Value;
    unsigned __int64 Other;
    __int32 Small;
    unsigned __int8 Tiny;
} CACHE_LINE;
C_ASSERT(sizeof(CACHE_LINE) == 64);
C_ASSERT(__alignof__(CACHE_LINE) == 64);

__declspec(selectany) ULONG OrdinarySelected = 7;
DECLSPEC_SELECTANY ULONG OrdinaryOther = 8;
static const UNICODE_STRING Constant = RTL_CONSTANT_STRING(L"\\Device\\Ordinary");
static UNICODE_STRING Global = RTL_CONSTANT_STRING(L"global");
static ANSI_STRING GlobalAnsi = RTL_CONSTANT_STRING("ansi");
DECLARE_GLOBAL_CONST_UNICODE_STRING(GlobalConst, L"const");
static RTL_STATIC_LIST_HEAD(StaticList);
static const GUID OrdinaryGuid = {0x12345678, 0x1234, 0x5678, {1, 2, 3, 4, 5, 6, 7, 8}};

static FORCEINLINE ULONG AddOne(ULONG Value)
{
    return Value + 1;
}

FORCEINLINE
ULONG
AddTwo(_In_ ULONG Value)
{
    return Value + 2;
}

static __forceinline int AddThree(int Value)
{
    return Value + 3;
}

static __inline int AddFour(int Value)
{
    return Value + 4;
}

__declspec(noinline) static ULONG_PTR WhoCalled(VOID)
{
    return (ULONG_PTR)_ReturnAddress();
}

DECLSPEC_NOINLINE static int __cdecl OldFashioned(IN int A, IN OUT int *B, OUT int *C OPTIONAL)
{
    *B += A;
    if (ARGUMENT_PRESENT(C))
        *C = *B;
    return max(A, *B) - min(A, *B);
}

_IRQL_requires_max_(DISPATCH_LEVEL)
_Must_inspect_result_
_Success_(return != FALSE) static BOOLEAN
    Annotated(_In_reads_bytes_(Length) const VOID *Buffer, _In_ SIZE_T Length,
              _Out_writes_bytes_to_opt_(Length, *Written) PVOID To,
              _Out_opt_ _When_(return == FALSE, _Out_range_(0, 0)) PSIZE_T Written, _Inout_ PLIST_ENTRY List, __in ULONG Old,
              __out_opt PULONG Older, __inout_bcount(Length) PVOID Oldest)
{
    UNREFERENCED_PARAMETER(Oldest);
    if (To != NULL)
        RtlCopyMemory(To, Buffer, Length);
    if (Written)
        *Written = Length;
    if (Older)
        *Older = Old;
    return IsListEmpty(List);
}

_Use_decl_annotations_
NTSTATUS
OrdinaryCompleted(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

_Function_class_(KDEFERRED_ROUTINE) _IRQL_requires_(DISPATCH_LEVEL)
_IRQL_requires_same_ VOID OrdinaryDpc(_In_ struct _KDPC *Dpc, _In_opt_ PVOID DeferredContext, _In_opt_ PVOID SystemArgument1,
                                      _In_opt_ PVOID SystemArgument2)
{
    PDEVICE_EXTENSION Extension = (PDEVICE_EXTENSION)DeferredContext;
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(SystemArgument1);
    DBG_UNREFERENCED_PARAMETER(SystemArgument2);
    InterlockedIncrement(&Extension->Count);
}

VOID OrdinaryThread(PVOID StartContext)
{
    UNREFERENCED_PARAMETER(StartContext);
}

VOID OrdinaryWork(PVOID Parameter)
{
    UNREFERENCED_PARAMETER(Parameter);
}

VOID OrdinaryWorkItem(PDEVICE_OBJECT DeviceObject, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Context);
}

VOID OrdinaryCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    Irp->IoStatus.Status = STATUS_CANCELLED;
}

NTSTATUS OrdinaryAddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    UNREFERENCED_PARAMETER(PhysicalDeviceObject);
    return STATUS_NOT_SUPPORTED;
}

VOID OrdinaryStartIo(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
}

VOID OrdinaryDpcForIsr(PKDPC Dpc, PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
}

VOID OrdinaryTimer(PDEVICE_OBJECT DeviceObject, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Context);
}

NTSTATUS OrdinaryCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    PAGED_CODE();
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

NTSTATUS OrdinaryControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    PDEVICE_EXTENSION Extension = (PDEVICE_EXTENSION)DeviceObject->DeviceExtension;
    NTSTATUS Status = STATUS_INVALID_DEVICE_REQUEST;
    KIRQL OldIrql;

    Irp->IoStatus.Information = 0;
    switch (Stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_ORDINARY_GET:
        if (Stack->Parameters.DeviceIoControl.OutputBufferLength < sizeof(LONG)) {
            Status = STATUS_BUFFER_TOO_SMALL;
            break;
        }
        KeAcquireSpinLock(&Extension->Lock, &OldIrql);
        *(PLONG)Irp->AssociatedIrp.SystemBuffer = Extension->Count;
        KeReleaseSpinLock(&Extension->Lock, OldIrql);
        Irp->IoStatus.Information = sizeof(LONG);
        Status = STATUS_SUCCESS;
        __fallthrough;
    case IOCTL_ORDINARY_PUT:
        break;
    default:
        break;
    }
    Irp->IoStatus.Status = Status;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

VOID OrdinaryUnload(PDRIVER_OBJECT DriverObject)
{
    PAGED_CODE();
    UNREFERENCED_PARAMETER(DriverObject);
    KdPrint(("unload %p\n", (PVOID)DriverObject));
}

NTSTATUS DriverEntry(_In_ PDRIVER_OBJECT DriverObject, _In_ PUNICODE_STRING RegistryPath)
{
    DECLARE_CONST_UNICODE_STRING(Local, L"\\DosDevices\\Ordinary");
    DECLARE_UNICODE_STRING_SIZE(Sized, 32);
    OBJECT_ATTRIBUTES Attributes;
    WCHAR Text[64];
    LIST_ENTRY List;
    DEVICE_EXTENSION Extension;
    ULONG Index, Sum;
    int Registers[4], A = 3;
    LARGE_INTEGER Timeout;
    unsigned __int64 Big = 0xFFFFFFFFFFFFFFFFULL;
    PVOID Block;
    NTSTATUS Status;

    NT_ASSERT(DriverObject != NULL);
    ASSERT(RegistryPath != NULL);
    ASSERTMSG("message", TRUE);
    NT_VERIFY(TRUE);
    DriverObject->DriverUnload = OrdinaryUnload;
    for (Index = 0; Index <= IRP_MJ_MAXIMUM_FUNCTION; Index++)
        DriverObject->MajorFunction[Index] = OrdinaryCreateClose;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = OrdinaryControl;
    DriverObject->DriverExtension->AddDevice = OrdinaryAddDevice;

    InitializeObjectAttributes(&Attributes, (PUNICODE_STRING)&Local, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    InitializeListHead(&List);
    RtlZeroMemory(&Extension, sizeof(Extension));
    KeInitializeSpinLock(&Extension.Lock);
    InitializeSListHead(&Extension.Free);
    Extension.High = 1;
    if (Extension.Word != 0x100)
        return STATUS_UNSUCCESSFUL;

    Timeout.QuadPart = -10LL * 1000 * 1000;
    if (Timeout.HighPart != -1 || Timeout.u.HighPart != -1)
        return STATUS_UNSUCCESSFUL;
    Status = RtlStringCbPrintfW(Text, sizeof(Text), L"%ws-%d-%wZ-%S", L"wide", 42, &Constant, "narrow");
    if (!NT_SUCCESS(Status))
        return Status;
    if (wcscmp(Text, L"wide-42-\\Device\\Ordinary-narrow") != 0 || wcslen(Text) != 31 || _countof(Text) != 64)
        return STATUS_UNSUCCESSFUL;
    Status = RtlUnicodeStringPrintf(&Sized, L"%04x %I64u", 0xBEEF, Big);
    if (Status != STATUS_SUCCESS || Sized.Length != 25 * sizeof(WCHAR))
        return STATUS_UNSUCCESSFUL;
    if (RtlULongAdd(Index, MAXULONG, &Sum) != STATUS_INTEGER_OVERFLOW)
        return STATUS_UNSUCCESSFUL;
    if (AddOne(1) + AddTwo(1) != 5 || AddThree(0) + AddFour(0) != 7 || OldFashioned(1, &A, NULL) != 3 || WhoCalled() == 0)
        return STATUS_UNSUCCESSFUL;
    if (!Annotated(Text, sizeof(WCHAR), NULL, NULL, &List, 0, NULL, Text))
        return STATUS_UNSUCCESSFUL;
    __cpuid(Registers, 0);
    __noop("nothing", Registers[0]);
    __assume(Registers[0] >= 0);
    if (BooleanFlagOn(DriverObject->Flags, 0x80000000))
        SetFlag(DriverObject->Flags, 0);
    if (OrdinarySelected + OrdinaryOther != 15 || !_BitScanForward64(&Index, Big) || Index != 0)
        return STATUS_UNSUCCESSFUL;
    if (GlobalConst.Length != 10 || Global.Length != 12 || GlobalAnsi.Length != 4 || !IsListEmpty(&StaticList) ||
        OrdinaryGuid.Data1 == 0)
        return STATUS_UNSUCCESSFUL;

    Block = ExAllocatePoolWithTag(NonPagedPoolNx, 100, DRIVER_TAG);
    if (Block == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    KeMemoryBarrier();
    ExFreePoolWithTag(Block, DRIVER_TAG);
    DbgPrint("ordinary: %wZ\n", RegistryPath);
    return STATUS_SUCCESS;
}
