/*
 * ob_object_test.c - objects, names, handles, events, the registry. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <ntifs.h>
#include <ntmm.h>
#include "ob/ob.h"
#include "ps/psp.h"

static int Setup(void **state)
{
    ntmm_options options;
    (void)state;
    ntmm_default_options(&options);
    options.ram = 64 << 20;
    return ntmm_start(&options);
}

static int Teardown(void **state)
{
    (void)state;
    return ntmm_stop();
}

#define OK(Status)              assert_int_equal((Status), STATUS_SUCCESS)
#define FAILS(Status, Expected) assert_int_equal((Status), (Expected))

static UNICODE_STRING Str(const WCHAR *Text)
{
    UNICODE_STRING String;
    RtlInitUnicodeString(&String, Text);
    return String;
}

static OBJECT_ATTRIBUTES Attr(UNICODE_STRING *Name, ULONG Flags, HANDLE Root)
{
    OBJECT_ATTRIBUTES Attributes;
    InitializeObjectAttributes(&Attributes, Name, Flags, Root, NULL);
    return Attributes;
}

static void Valid(void)
{
    const CHAR *Broken = ObpValidate();
    if (Broken)
        fail_msg("%s", Broken);
}

static void Object_LastDereference_Deletes(void **state)
{
    (void)state;
    PVOID Object;
    LONG Before = ObpEventType.Objects;
    OK(ObpCreateObject(&ObpEventType, sizeof(KEVENT), &Object));
    assert_int_equal(ObpEventType.Objects, Before + 1);
    assert_int_equal(ObfReferenceObject(Object), 2);
    assert_int_equal(ObfDereferenceObject(Object), 1);
    assert_ptr_equal(ObGetObjectType(Object), *ExEventObjectType);
    assert_int_equal(ObfDereferenceObject(Object), 0);
    assert_int_equal(ObpEventType.Objects, Before);
}

static void Event_CreateOpenClose_NameGoesWithLastHandle(void **state)
{
    (void)state;
    UNICODE_STRING Name = Str(L"\\BaseNamedObjects\\One");
    OBJECT_ATTRIBUTES A = Attr(&Name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL);
    HANDLE First, Second, Third;
    LONG Old;
    OK(ZwCreateEvent(&First, EVENT_ALL_ACCESS, &A, NotificationEvent, FALSE));
    assert_true((ULONG_PTR)First >= 0xffffffff80000000ull);
    FAILS(ZwCreateEvent(&Second, EVENT_ALL_ACCESS, &A, NotificationEvent, FALSE), STATUS_OBJECT_NAME_COLLISION);
    OK(ZwOpenEvent(&Second, EVENT_ALL_ACCESS, &A));
    OK(ZwSetEvent(Second, &Old));
    assert_int_equal(Old, 0);
    LARGE_INTEGER Zero = {.QuadPart = 0};
    OK(ZwWaitForSingleObject(First, FALSE, &Zero));
    OK(ZwClearEvent(First));
    FAILS(ZwWaitForSingleObject(Second, FALSE, &Zero), STATUS_TIMEOUT);
    OK(ZwClose(First));
    OK(ZwOpenEvent(&Third, EVENT_ALL_ACCESS, &A));
    OK(ZwClose(Second));
    OK(ZwClose(Third));
    FAILS(ZwOpenEvent(&Third, EVENT_ALL_ACCESS, &A), STATUS_OBJECT_NAME_NOT_FOUND);
    FAILS(ZwClose(First), STATUS_INVALID_HANDLE);
    Valid();
}

static void Handle_WrongTypeOrAccess_Refused(void **state)
{
    (void)state;
    HANDLE Handle;
    PVOID Object;
    OBJECT_HANDLE_INFORMATION Information;
    OK(ZwCreateEvent(&Handle, EVENT_QUERY_STATE, NULL, SynchronizationEvent, TRUE));
    FAILS(ObReferenceObjectByHandle(Handle, 0, *PsProcessType, KernelMode, &Object, NULL), STATUS_OBJECT_TYPE_MISMATCH);
    FAILS(ObReferenceObjectByHandle(Handle, EVENT_MODIFY_STATE, *ExEventObjectType, UserMode, &Object, NULL),
          STATUS_ACCESS_DENIED);
    assert_null(Object);
    OK(ObReferenceObjectByHandle(Handle, EVENT_MODIFY_STATE, *ExEventObjectType, KernelMode, &Object, &Information));
    assert_int_equal(Information.GrantedAccess, EVENT_QUERY_STATE);
    assert_int_equal(ObpPointerCount(Object), 2);
    assert_int_equal(ObpHandleCount(Object), 1);
    OK(ZwClose(Handle));
    assert_int_equal(ObpHandleCount(Object), 0);
    ObDereferenceObject(Object);
    FAILS(ObReferenceObjectByHandle(NULL, 0, NULL, KernelMode, &Object, NULL), STATUS_INVALID_HANDLE);
    OK(ObReferenceObjectByHandle(NtCurrentProcess(), 0, *PsProcessType, KernelMode, &Object, NULL));
    assert_ptr_equal(Object, PsInitialSystemProcess);
    ObDereferenceObject(Object);
    OK(ObReferenceObjectByHandle(NtCurrentThread(), 0, *PsThreadType, KernelMode, &Object, NULL));
    assert_ptr_equal(Object, KeGetCurrentThread());
    ObDereferenceObject(Object);
    FAILS(ObOpenObjectByPointer(PsInitialSystemProcess, 0, NULL, 0, *PsThreadType, KernelMode, &Handle),
          STATUS_OBJECT_TYPE_MISMATCH);
    OK(ObOpenObjectByPointer(PsInitialSystemProcess, OBJ_KERNEL_HANDLE, NULL, 0, *PsProcessType, KernelMode, &Handle));
    OK(ZwClose(Handle));
}

static void Handle_Many_TableGrows(void **state)
{
    (void)state;
    enum { Count = 1000 };
    static HANDLE Handles[Count];
    LONG Before = ObpEventType.Objects;
    for (int i = 0; i < Count; i++)
        OK(ZwCreateEvent(&Handles[i], EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE));
    Valid();
    for (int i = 0; i < Count; i += 2)
        OK(ZwClose(Handles[i]));
    for (int i = 0; i < Count; i += 2)
        OK(ZwDuplicateObject(NtCurrentProcess(), Handles[i + 1], NtCurrentProcess(), &Handles[i], 0, 0, DUPLICATE_SAME_ACCESS));
    Valid();
    for (int i = 0; i < Count; i++)
        OK(ZwClose(Handles[i]));
    assert_int_equal(ObpEventType.Objects, Before);
    Valid();
}

static void Name_SymbolicLinks_AreFollowed(void **state)
{
    (void)state;
    UNICODE_STRING Link = Str(L"\\DosDevices\\TestLink"), Target = Str(L"\\BaseNamedObjects"),
                   Deep = Str(L"\\??\\testlink\\Two");
    UNICODE_STRING Global = Str(L"\\??\\Global\\TestLink\\Two"), Missing = Str(L"\\??\\testlink\\Nope"),
                   NoPath = Str(L"\\Nope\\Two"), Bad = Str(L"Two");
    OBJECT_ATTRIBUTES A = Attr(&Deep, OBJ_KERNEL_HANDLE, NULL);
    HANDLE Event, Handle;
    WCHAR Buffer[64];
    UNICODE_STRING Out = {0, sizeof Buffer, Buffer};
    ULONG Length;
    OK(ObpCreateLink(&Link, &Target, OBJ_PERMANENT));
    FAILS(ObpCreateLink(&Link, &Target, OBJ_PERMANENT), STATUS_OBJECT_NAME_COLLISION);
    OK(ZwCreateEvent(&Event, EVENT_ALL_ACCESS, &A, NotificationEvent, FALSE));
    A.ObjectName = &Global;
    OK(ZwOpenEvent(&Handle, EVENT_ALL_ACCESS, &A));
    OK(ZwClose(Handle));
    A.ObjectName = &Missing;
    FAILS(ZwOpenEvent(&Handle, EVENT_ALL_ACCESS, &A), STATUS_OBJECT_NAME_NOT_FOUND);
    A.ObjectName = &NoPath;
    FAILS(ZwOpenEvent(&Handle, EVENT_ALL_ACCESS, &A), STATUS_OBJECT_PATH_NOT_FOUND);
    A.ObjectName = &Bad;
    FAILS(ZwOpenEvent(&Handle, EVENT_ALL_ACCESS, &A), STATUS_OBJECT_PATH_SYNTAX_BAD);
    A.ObjectName = &Link;
    FAILS(ZwOpenEvent(&Handle, EVENT_ALL_ACCESS, &A), STATUS_OBJECT_TYPE_MISMATCH);
    OK(ZwOpenSymbolicLinkObject(&Handle, SYMBOLIC_LINK_QUERY, &A));
    OK(ZwQuerySymbolicLinkObject(Handle, &Out, &Length));
    assert_true(RtlEqualUnicodeString(&Out, &Target, FALSE));
    assert_int_equal(Length, Target.Length + 2);
    Out.MaximumLength = 4;
    FAILS(ZwQuerySymbolicLinkObject(Handle, &Out, NULL), STATUS_BUFFER_TOO_SMALL);
    OK(ZwClose(Handle));
    OK(ZwClose(Event));
    OK(ObpRemoveLink(&Link));
    FAILS(ObpRemoveLink(&Link), STATUS_OBJECT_NAME_NOT_FOUND);
    Valid();
}

static void Name_QueryNameString_FullPath(void **state)
{
    (void)state;
    UNICODE_STRING Name = Str(L"\\KernelObjects\\Sub"), Child = Str(L"Ev"), Full = Str(L"\\KernelObjects\\Sub\\Ev");
    OBJECT_ATTRIBUTES A = Attr(&Name, OBJ_KERNEL_HANDLE, NULL);
    HANDLE Directory, Event;
    PVOID Object;
    struct {
        OBJECT_NAME_INFORMATION Info;
        WCHAR Text[64];
    } Out;
    ULONG Length;
    OK(ZwCreateDirectoryObject(&Directory, DIRECTORY_ALL_ACCESS, &A));
    A = Attr(&Child, OBJ_KERNEL_HANDLE, Directory);
    OK(ZwCreateEvent(&Event, EVENT_ALL_ACCESS, &A, NotificationEvent, FALSE));
    OK(ObReferenceObjectByHandle(Event, 0, NULL, KernelMode, &Object, NULL));
    FAILS(ObQueryNameString(Object, &Out.Info, 10, &Length), STATUS_INFO_LENGTH_MISMATCH);
    assert_int_equal(Length, sizeof(OBJECT_NAME_INFORMATION) + Full.Length + 2);
    OK(ObQueryNameString(Object, &Out.Info, sizeof Out, &Length));
    assert_true(RtlEqualUnicodeString(&Out.Info.Name, &Full, FALSE));
    ObDereferenceObject(Object);
    OK(ZwClose(Event));
    OK(ZwClose(Directory));
    A = Attr(&Name, OBJ_KERNEL_HANDLE, NULL);
    FAILS(ZwOpenDirectoryObject(&Directory, 0, &A), STATUS_OBJECT_NAME_NOT_FOUND);
}

static void Name_Permanent_StaysUntilTemporary(void **state)
{
    (void)state;
    UNICODE_STRING Name = Str(L"\\KernelObjects\\Perm");
    OBJECT_ATTRIBUTES A = Attr(&Name, OBJ_KERNEL_HANDLE | OBJ_PERMANENT, NULL);
    HANDLE Event;
    LONG Before = ObpEventType.Objects;
    OK(ZwCreateEvent(&Event, EVENT_ALL_ACCESS, &A, NotificationEvent, FALSE));
    OK(ZwClose(Event));
    OK(ZwOpenEvent(&Event, EVENT_ALL_ACCESS, &A));
    OK(ZwMakeTemporaryObject(Event));
    OK(ZwClose(Event));
    FAILS(ZwOpenEvent(&Event, EVENT_ALL_ACCESS, &A), STATUS_OBJECT_NAME_NOT_FOUND);
    assert_int_equal(ObpEventType.Objects, Before);
}

static void Registry_CreateSetQueryDelete(void **state)
{
    (void)state;
    UNICODE_STRING Path = Str(L"\\Registry\\Machine\\Software\\Ntmm"), Value = Str(L"Answer"), Missing = Str(L"Nope");
    OBJECT_ATTRIBUTES A = Attr(&Path, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL);
    HANDLE Key;
    ULONG Disposition, Data = 42, Length;
    union {
        KEY_VALUE_PARTIAL_INFORMATION Info;
        UCHAR Room[64];
    } Out;
    FAILS(ZwOpenKey(&Key, KEY_READ, &A), STATUS_OBJECT_NAME_NOT_FOUND);
    OK(ZwCreateKey(&Key, KEY_ALL_ACCESS, &A, 0, NULL, 0, &Disposition));
    assert_int_equal(Disposition, REG_CREATED_NEW_KEY);
    OK(ZwSetValueKey(Key, &Value, 0, REG_DWORD, &Data, sizeof Data));
    FAILS(ZwQueryValueKey(Key, &Missing, KeyValuePartialInformation, &Out, sizeof Out, &Length), STATUS_OBJECT_NAME_NOT_FOUND);
    FAILS(ZwQueryValueKey(Key, &Value, KeyValuePartialInformation, &Out, 4, &Length), STATUS_BUFFER_TOO_SMALL);
    assert_int_equal(Length, 16);
    FAILS(ZwQueryValueKey(Key, &Value, KeyValuePartialInformation, &Out, 13, &Length), STATUS_BUFFER_OVERFLOW);
    OK(ZwQueryValueKey(Key, &Value, KeyValuePartialInformation, &Out, sizeof Out, &Length));
    assert_int_equal(Out.Info.Type, REG_DWORD);
    assert_int_equal(Out.Info.DataLength, 4);
    assert_int_equal(*(ULONG *)Out.Info.Data, 42);
    OK(ZwEnumerateValueKey(Key, 0, KeyValuePartialInformation, &Out, sizeof Out, &Length));
    FAILS(ZwEnumerateValueKey(Key, 1, KeyValuePartialInformation, &Out, sizeof Out, &Length), STATUS_NO_MORE_ENTRIES);
    OK(ZwDeleteValueKey(Key, &Value));
    OK(ZwDeleteKey(Key));
    FAILS(ZwDeleteKey(Key), STATUS_KEY_DELETED);
    OK(ZwClose(Key));
    FAILS(ZwOpenKey(&Key, KEY_READ, &A), STATUS_OBJECT_NAME_NOT_FOUND);
    UNICODE_STRING Services = Str(L"\\REGISTRY\\MACHINE\\SYSTEM\\CurrentControlSet\\Services");
    A = Attr(&Services, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL);
    OK(ZwOpenKey(&Key, KEY_READ, &A));
    OK(ZwClose(Key));
}

static void Process_Lookup_ById(void **state)
{
    (void)state;
    PEPROCESS Process;
    OK(PsLookupProcessByProcessId((HANDLE)4, &Process));
    assert_ptr_equal(Process, PsInitialSystemProcess);
    ObDereferenceObject(Process);
    FAILS(PsLookupProcessByProcessId((HANDLE)5, &Process), STATUS_INVALID_CID);
    assert_ptr_equal(PsGetCurrentProcess(), PsInitialSystemProcess);
    assert_ptr_equal(PsGetCurrentProcessId(), (HANDLE)4);
    assert_int_equal(ExGetPreviousMode(), KernelMode);
}

static void Process_Attach_StacksAndReturns(void **state)
{
    (void)state;
    KAPC_STATE First, Second;
    OK(PspCreateUserProcess());
    KeStackAttachProcess(PspUserProcess, &First);
    assert_ptr_equal(IoGetCurrentProcess(), PspUserProcess);
    assert_ptr_equal(PsGetCurrentProcessId(), (HANDLE)4);
    KeStackAttachProcess(PspUserProcess, &Second);
    KeUnstackDetachProcess(&Second);
    assert_ptr_equal(IoGetCurrentProcess(), PspUserProcess);
    KeUnstackDetachProcess(&First);
    assert_ptr_equal(IoGetCurrentProcess(), PsInitialSystemProcess);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Object_LastDereference_Deletes),
        cmocka_unit_test(Event_CreateOpenClose_NameGoesWithLastHandle),
        cmocka_unit_test(Handle_WrongTypeOrAccess_Refused),
        cmocka_unit_test(Handle_Many_TableGrows),
        cmocka_unit_test(Name_SymbolicLinks_AreFollowed),
        cmocka_unit_test(Name_QueryNameString_FullPath),
        cmocka_unit_test(Name_Permanent_StaysUntilTemporary),
        cmocka_unit_test(Registry_CreateSetQueryDelete),
        cmocka_unit_test(Process_Lookup_ById),
        cmocka_unit_test(Process_Attach_StacksAndReturns),
    };
    return cmocka_run_group_tests(tests, Setup, Teardown);
}
