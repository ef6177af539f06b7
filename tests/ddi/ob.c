/*
 * ob.c - handles and processes by their documents: callbacks, questions about objects, loading by service.
 * SPDX-License-Identifier: MIT
 */
#include "io_kit.h"

static int Setup(void **state)
{
    return KitStart(state) || PspCreateUserProcess();
}

static char Log[300];
static OB_PREOP_CALLBACK_STATUS Pre(PVOID Context, POB_PRE_OPERATION_INFORMATION Info)
{
    strcat(Log, Context);
    strcat(Log, Info->Operation == OB_OPERATION_HANDLE_CREATE ? "c" : "d");
    assert_ptr_equal(Info->Object, PspUserProcess);
    assert_ptr_equal(Info->ObjectType, *PsProcessType);
    assert_true(Info->KernelHandle);
    Info->Parameters->CreateHandleInformation.DesiredAccess &= ~(ACCESS_MASK)PROCESS_TERMINATE;
    Info->Parameters->CreateHandleInformation.DesiredAccess |= PROCESS_VM_WRITE; /* may not be added */
    Info->CallContext = Context;
    return OB_PREOP_SUCCESS;
}

static VOID Post(PVOID Context, POB_POST_OPERATION_INFORMATION Info)
{
    strcat(Log, "p");
    strcat(Log, Context);
    assert_ptr_equal(Info->CallContext, Context);
    OK(Info->ReturnStatus);
}

/* Page: ObRegisterCallbacks. Altitudes order callbacks; pre-operation routines may remove access rights; "STATUS_FLT_INSTANCE_ALTITUDE
 * _COLLISION: the calling driver's altitude is already in use". */
static void ObRegisterCallbacks_OrderAndAccess(void **state)
{
    OB_OPERATION_REGISTRATION Operation = {PsProcessType, OB_OPERATION_HANDLE_CREATE | OB_OPERATION_HANDLE_DUPLICATE, Pre,
                                           Post};
    OB_CALLBACK_REGISTRATION Low = {OB_FLT_REGISTRATION_VERSION, 1, KitString(L"1000.5"), (PVOID) "L", &Operation}, High = Low;
    PVOID One, Two, Three;
    HANDLE Handle, Copy;
    OBJECT_ATTRIBUTES A;
    CLIENT_ID Id = {PsGetProcessId(PspUserProcess), NULL};
    PUBLIC_OBJECT_BASIC_INFORMATION Basic;
    (void)state;
    High.Altitude = KitString(L"1000.6");
    High.RegistrationContext = (PVOID) "H";
    OK(ObRegisterCallbacks(&Low, &One));
    OK(ObRegisterCallbacks(&High, &Two));
    FAILS(ObRegisterCallbacks(&High, &Three), STATUS_FLT_INSTANCE_ALTITUDE_COLLISION);
    Operation.ObjectType = ExEventObjectType;
    FAILS(ObRegisterCallbacks(&High, &Three), STATUS_INVALID_PARAMETER);
    InitializeObjectAttributes(&A, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    OK(ZwOpenProcess(&Handle, PROCESS_TERMINATE | PROCESS_QUERY_INFORMATION, &A, &Id));
    assert_string_equal(Log, "HcLcpLpH");
    OK(ZwQueryObject(Handle, ObjectBasicInformation, &Basic, sizeof Basic, NULL));
    assert_int_equal(Basic.GrantedAccess, PROCESS_QUERY_INFORMATION);
    assert_int_equal(Basic.HandleCount, 1);
    Log[0] = 0;
    OK(ZwDuplicateObject(NtCurrentProcess(), Handle, NtCurrentProcess(), &Copy, 0, 0, DUPLICATE_SAME_ACCESS));
    assert_string_equal(Log, "HdLdpLpH");
    OK(ZwClose(Copy));
    OK(ZwClose(Handle));
    ObUnRegisterCallbacks(One);
    ObUnRegisterCallbacks(Two);
    Log[0] = 0;
    OK(ZwOpenProcess(&Handle, PROCESS_TERMINATE, &A, &Id));
    assert_string_equal(Log, "");
    PROCESS_BASIC_INFORMATION Process;
    ULONG Length;
    OK(ZwQueryInformationProcess(Handle, ProcessBasicInformation, &Process, sizeof Process, &Length));
    assert_int_equal(Process.UniqueProcessId, 0x10000);
    assert_int_equal(Process.InheritedFromUniqueProcessId, 4);
    FAILS(ZwQueryInformationProcess(Handle, ProcessBasicInformation, &Process, 4, &Length), STATUS_INFO_LENGTH_MISMATCH);
    FAILS(ZwQueryInformationProcess(Handle, (PROCESSINFOCLASS)99, &Process, 4, &Length), STATUS_INVALID_INFO_CLASS);
    OK(ZwClose(Handle));
    Id.UniqueProcess = (HANDLE)3;
    FAILS(ZwOpenProcess(&Handle, PROCESS_TERMINATE, &A, &Id), STATUS_INVALID_CID);
    FAILS(ZwOpenProcess(&Handle, PROCESS_TERMINATE, &A, NULL), STATUS_INVALID_PARAMETER_MIX);
}

/* Page: ZwQueryObject. Type name and name; "STATUS_INFO_LENGTH_MISMATCH". */
static void ZwQueryObject_TypeAndName(void **state)
{
    HANDLE Handle;
    UNICODE_STRING Name = KitString(L"\\BaseNamedObjects\\Q"), Event = KitString(L"Event");
    OBJECT_ATTRIBUTES A;
    union {
        PUBLIC_OBJECT_TYPE_INFORMATION Type;
        OBJECT_NAME_INFORMATION Name;
        UCHAR Room[256];
    } Out;
    ULONG Length;
    (void)state;
    InitializeObjectAttributes(&A, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    OK(ZwCreateEvent(&Handle, EVENT_ALL_ACCESS, &A, NotificationEvent, FALSE));
    FAILS(ZwQueryObject(Handle, ObjectTypeInformation, &Out, 8, &Length), STATUS_INFO_LENGTH_MISMATCH);
    OK(ZwQueryObject(Handle, ObjectTypeInformation, &Out, sizeof Out, &Length));
    assert_true(RtlEqualUnicodeString(&Out.Type.TypeName, &Event, FALSE));
    OK(ZwQueryObject(Handle, ObjectNameInformation, &Out, sizeof Out, &Length));
    assert_true(RtlEqualUnicodeString(&Out.Name.Name, &Name, FALSE));
    FAILS(ZwQueryObject(Handle, (OBJECT_INFORMATION_CLASS)9, &Out, sizeof Out, &Length), STATUS_INVALID_INFO_CLASS);
    OK(ZwClose(Handle));
}

/* Page: IoCreateNotificationEvent. "creates or opens a named notification event"; "the event is initialised to the signaled state". */
static void IoCreateNotificationEvent_OneObject(void **state)
{
    UNICODE_STRING Name = KitString(L"\\BaseNamedObjects\\Note");
    HANDLE One, Two;
    (void)state;
    PKEVENT A = IoCreateNotificationEvent(&Name, &One), B = IoCreateNotificationEvent(&Name, &Two);
    assert_non_null(A);
    assert_ptr_equal(A, B);
    assert_int_not_equal(KeReadStateEvent(A), 0);
    OK(ZwClose(One));
    OK(ZwClose(Two));
    PKEVENT C = IoCreateSynchronizationEvent(&Name, &One);
    assert_int_equal(C->Header.Type, 1);
    OK(ZwClose(One));
}

static NTSTATUS Ok(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return KitComplete(Irp, STATUS_SUCCESS, 0);
}

/* Page: ZwLoadDriver / ZwUnloadDriver. "STATUS_IMAGE_ALREADY_LOADED", "STATUS_INVALID_DEVICE_REQUEST: ... no unload routine". */
static void ZwLoadDriver_Statuses(void **state)
{
    UNICODE_STRING Kit = KitString(L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\Kit"),
                   None = KitString(L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\NoSuch");
    ntmm_file *File;
    (void)state;
    KitOpen(Ok, 0);
    FAILS(ZwLoadDriver(&Kit), STATUS_IMAGE_ALREADY_LOADED);
    FAILS(ZwLoadDriver(&None), STATUS_OBJECT_NAME_NOT_FOUND);
    FAILS(ZwUnloadDriver(&None), STATUS_OBJECT_NAME_NOT_FOUND);
    OK(ntmm_close(KitFile));
    PVOID Unload = (PVOID)(ULONG_PTR)KitDriver->DriverUnload;
    KitDriver->DriverUnload = NULL;
    FAILS(ZwUnloadDriver(&Kit), STATUS_INVALID_DEVICE_REQUEST);
    KitDriver->DriverUnload = (PDRIVER_UNLOAD)(ULONG_PTR)Unload;
    OK(ZwUnloadDriver(&Kit));
    FAILS(ntmm_open("Kit", &File), STATUS_OBJECT_NAME_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ObRegisterCallbacks_OrderAndAccess),
        cmocka_unit_test(ZwQueryObject_TypeAndName),
        cmocka_unit_test(IoCreateNotificationEvent_OneObject),
        cmocka_unit_test(ZwLoadDriver_Statuses),
    };
    return cmocka_run_group_tests(tests, Setup, KitStop);
}
