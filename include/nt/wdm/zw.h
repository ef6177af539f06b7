/*
 * zw.h - the Zw system services that ntmm has: handles, names, events, files on devices, the registry.
 *
 * All at IRQL = PASSIVE_LEVEL, as calls from kernel mode. STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH and
 * STATUS_INSUFFICIENT_RESOURCES are possible wherever a handle is taken or made and are not repeated below.
 * Memory and section services are in mm.h, threads' and processes' in ps.h.
 * SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_ZW_
#define _NTMM_ZW_

#define DUPLICATE_CLOSE_SOURCE    0x00000001
#define DUPLICATE_SAME_ACCESS     0x00000002
#define DUPLICATE_SAME_ATTRIBUTES 0x00000004

/* ---- registry ---- */
#define REG_NONE                       0
#define REG_SZ                         1
#define REG_EXPAND_SZ                  2
#define REG_BINARY                     3
#define REG_DWORD                      4
#define REG_DWORD_LITTLE_ENDIAN        4
#define REG_DWORD_BIG_ENDIAN           5
#define REG_LINK                       6
#define REG_MULTI_SZ                   7
#define REG_RESOURCE_LIST              8
#define REG_FULL_RESOURCE_DESCRIPTOR   9
#define REG_RESOURCE_REQUIREMENTS_LIST 10
#define REG_QWORD                      11
#define REG_QWORD_LITTLE_ENDIAN        11
#define REG_CREATED_NEW_KEY            1
#define REG_OPENED_EXISTING_KEY        2
#define REG_OPTION_NON_VOLATILE        0
#define REG_OPTION_VOLATILE            1
#define REG_OPTION_CREATE_LINK         2
#define REG_OPTION_BACKUP_RESTORE      4
#define REG_OPTION_OPEN_LINK           8
#define KEY_QUERY_VALUE                0x0001
#define KEY_SET_VALUE                  0x0002
#define KEY_CREATE_SUB_KEY             0x0004
#define KEY_ENUMERATE_SUB_KEYS         0x0008
#define KEY_NOTIFY                     0x0010
#define KEY_CREATE_LINK                0x0020
#define KEY_READ                       ((STANDARD_RIGHTS_READ | KEY_QUERY_VALUE | KEY_ENUMERATE_SUB_KEYS | KEY_NOTIFY) & ~SYNCHRONIZE)
#define KEY_WRITE                      ((STANDARD_RIGHTS_WRITE | KEY_SET_VALUE | KEY_CREATE_SUB_KEY) & ~SYNCHRONIZE)
#define KEY_EXECUTE                    KEY_READ
#define KEY_ALL_ACCESS                                                                                                         \
    ((STANDARD_RIGHTS_ALL | KEY_QUERY_VALUE | KEY_SET_VALUE | KEY_CREATE_SUB_KEY | KEY_ENUMERATE_SUB_KEYS | KEY_NOTIFY |       \
      KEY_CREATE_LINK) &                                                                                                       \
     ~SYNCHRONIZE)

typedef enum _KEY_INFORMATION_CLASS {
    KeyBasicInformation,
    KeyNodeInformation,
    KeyFullInformation,
    KeyNameInformation,
    KeyCachedInformation,
    KeyFlagsInformation,
    KeyVirtualizationInformation,
    KeyHandleTagsInformation,
    KeyTrustInformation,
    KeyLayerInformation,
    MaxKeyInfoClass
} KEY_INFORMATION_CLASS;
typedef enum _KEY_VALUE_INFORMATION_CLASS {
    KeyValueBasicInformation,
    KeyValueFullInformation,
    KeyValuePartialInformation,
    KeyValueFullInformationAlign64,
    KeyValuePartialInformationAlign64,
    KeyValueLayerInformation,
    MaxKeyValueInfoClass
} KEY_VALUE_INFORMATION_CLASS;

typedef struct _KEY_BASIC_INFORMATION {
    LARGE_INTEGER LastWriteTime;
    ULONG TitleIndex;
    ULONG NameLength;
    WCHAR Name[1];
} KEY_BASIC_INFORMATION, *PKEY_BASIC_INFORMATION;
typedef struct _KEY_NAME_INFORMATION {
    ULONG NameLength;
    WCHAR Name[1];
} KEY_NAME_INFORMATION, *PKEY_NAME_INFORMATION;
typedef struct _KEY_FULL_INFORMATION {
    LARGE_INTEGER LastWriteTime;
    ULONG TitleIndex;
    ULONG ClassOffset;
    ULONG ClassLength;
    ULONG SubKeys;
    ULONG MaxNameLen;
    ULONG MaxClassLen;
    ULONG Values;
    ULONG MaxValueNameLen;
    ULONG MaxValueDataLen;
    WCHAR Class[1];
} KEY_FULL_INFORMATION, *PKEY_FULL_INFORMATION;
typedef struct _KEY_VALUE_BASIC_INFORMATION {
    ULONG TitleIndex;
    ULONG Type;
    ULONG NameLength;
    WCHAR Name[1];
} KEY_VALUE_BASIC_INFORMATION, *PKEY_VALUE_BASIC_INFORMATION;
typedef struct _KEY_VALUE_FULL_INFORMATION {
    ULONG TitleIndex;
    ULONG Type;
    ULONG DataOffset;
    ULONG DataLength;
    ULONG NameLength;
    WCHAR Name[1];
} KEY_VALUE_FULL_INFORMATION, *PKEY_VALUE_FULL_INFORMATION;
typedef struct _KEY_VALUE_PARTIAL_INFORMATION {
    ULONG TitleIndex;
    ULONG Type;
    ULONG DataLength;
    UCHAR Data[1];
} KEY_VALUE_PARTIAL_INFORMATION, *PKEY_VALUE_PARTIAL_INFORMATION;
typedef struct _KEY_VALUE_PARTIAL_INFORMATION_ALIGN64 {
    ULONG Type;
    ULONG DataLength;
    UCHAR Data[1];
} KEY_VALUE_PARTIAL_INFORMATION_ALIGN64, *PKEY_VALUE_PARTIAL_INFORMATION_ALIGN64;
C_ASSERT(offsetof(KEY_VALUE_PARTIAL_INFORMATION, Data) == 0xC && offsetof(KEY_VALUE_FULL_INFORMATION, Name) == 0x14 &&
         offsetof(KEY_BASIC_INFORMATION, Name) == 0x10 && offsetof(KEY_FULL_INFORMATION, Class) == 0x2C);

/* RtlQueryRegistryValues and its relatives */
#define RTL_REGISTRY_ABSOLUTE              0
#define RTL_REGISTRY_SERVICES              1
#define RTL_REGISTRY_CONTROL               2
#define RTL_REGISTRY_WINDOWS_NT            3
#define RTL_REGISTRY_DEVICEMAP             4
#define RTL_REGISTRY_USER                  5
#define RTL_REGISTRY_MAXIMUM               6
#define RTL_REGISTRY_HANDLE                0x40000000
#define RTL_REGISTRY_OPTIONAL              0x80000000
#define RTL_QUERY_REGISTRY_SUBKEY          0x00000001
#define RTL_QUERY_REGISTRY_TOPKEY          0x00000002
#define RTL_QUERY_REGISTRY_REQUIRED        0x00000004
#define RTL_QUERY_REGISTRY_NOVALUE         0x00000008
#define RTL_QUERY_REGISTRY_NOEXPAND        0x00000010
#define RTL_QUERY_REGISTRY_DIRECT          0x00000020
#define RTL_QUERY_REGISTRY_DELETE          0x00000040
#define RTL_QUERY_REGISTRY_NOSTRING        0x00000080
#define RTL_QUERY_REGISTRY_TYPECHECK       0x00000100
#define RTL_QUERY_REGISTRY_TYPECHECK_SHIFT 24
#define RTL_QUERY_REGISTRY_TYPECHECK_MASK  (0xffu << RTL_QUERY_REGISTRY_TYPECHECK_SHIFT)
typedef NTSTATUS RTL_QUERY_REGISTRY_ROUTINE(PWSTR ValueName, ULONG ValueType, PVOID ValueData, ULONG ValueLength, PVOID Context,
                                            PVOID EntryContext);
typedef RTL_QUERY_REGISTRY_ROUTINE *PRTL_QUERY_REGISTRY_ROUTINE;
typedef struct _RTL_QUERY_REGISTRY_TABLE {
    PRTL_QUERY_REGISTRY_ROUTINE QueryRoutine;
    ULONG Flags;
    PWSTR Name;
    PVOID EntryContext;
    ULONG DefaultType;
    PVOID DefaultData;
    ULONG DefaultLength;
} RTL_QUERY_REGISTRY_TABLE, *PRTL_QUERY_REGISTRY_TABLE;
C_ASSERT(sizeof(RTL_QUERY_REGISTRY_TABLE) == 0x38);

/* ---- files ---- */
typedef enum _FILE_INFORMATION_CLASS {
    FileDirectoryInformation = 1,
    FileBasicInformation = 4,
    FileStandardInformation = 5,
    FileInternalInformation = 6,
    FileAccessInformation = 8,
    FileNameInformation = 9,
    FileRenameInformation = 10,
    FileDispositionInformation = 13,
    FilePositionInformation = 14,
    FileModeInformation = 16,
    FileAlignmentInformation = 17,
    FileAllInformation = 18,
    FileAllocationInformation = 19,
    FileEndOfFileInformation = 20,
    FileNetworkOpenInformation = 34,
    FileAttributeTagInformation = 35,
    FileMaximumInformation = 81
} FILE_INFORMATION_CLASS,
    *PFILE_INFORMATION_CLASS;
typedef enum _FSINFOCLASS {
    FileFsVolumeInformation = 1,
    FileFsLabelInformation,
    FileFsSizeInformation,
    FileFsDeviceInformation,
    FileFsAttributeInformation
} FS_INFORMATION_CLASS,
    *PFS_INFORMATION_CLASS;
typedef struct _FILE_BASIC_INFORMATION {
    LARGE_INTEGER CreationTime;
    LARGE_INTEGER LastAccessTime;
    LARGE_INTEGER LastWriteTime;
    LARGE_INTEGER ChangeTime;
    ULONG FileAttributes;
} FILE_BASIC_INFORMATION, *PFILE_BASIC_INFORMATION;
typedef struct _FILE_STANDARD_INFORMATION {
    LARGE_INTEGER AllocationSize;
    LARGE_INTEGER EndOfFile;
    ULONG NumberOfLinks;
    BOOLEAN DeletePending;
    BOOLEAN Directory;
} FILE_STANDARD_INFORMATION, *PFILE_STANDARD_INFORMATION;
typedef struct _FILE_POSITION_INFORMATION {
    LARGE_INTEGER CurrentByteOffset;
} FILE_POSITION_INFORMATION, *PFILE_POSITION_INFORMATION;
typedef struct _FILE_NAME_INFORMATION {
    ULONG FileNameLength;
    WCHAR FileName[1];
} FILE_NAME_INFORMATION, *PFILE_NAME_INFORMATION;
typedef struct _FILE_ALIGNMENT_INFORMATION {
    ULONG AlignmentRequirement;
} FILE_ALIGNMENT_INFORMATION, *PFILE_ALIGNMENT_INFORMATION;
typedef struct _FILE_END_OF_FILE_INFORMATION {
    LARGE_INTEGER EndOfFile;
} FILE_END_OF_FILE_INFORMATION, *PFILE_END_OF_FILE_INFORMATION;
typedef struct _FILE_DISPOSITION_INFORMATION {
    BOOLEAN DeleteFile;
} FILE_DISPOSITION_INFORMATION, *PFILE_DISPOSITION_INFORMATION;
typedef struct _FILE_NETWORK_OPEN_INFORMATION {
    LARGE_INTEGER CreationTime;
    LARGE_INTEGER LastAccessTime;
    LARGE_INTEGER LastWriteTime;
    LARGE_INTEGER ChangeTime;
    LARGE_INTEGER AllocationSize;
    LARGE_INTEGER EndOfFile;
    ULONG FileAttributes;
} FILE_NETWORK_OPEN_INFORMATION, *PFILE_NETWORK_OPEN_INFORMATION;
typedef struct _FILE_FULL_EA_INFORMATION {
    ULONG NextEntryOffset;
    UCHAR Flags;
    UCHAR EaNameLength;
    USHORT EaValueLength;
    CHAR EaName[1];
} FILE_FULL_EA_INFORMATION, *PFILE_FULL_EA_INFORMATION;
C_ASSERT(sizeof(FILE_BASIC_INFORMATION) == 0x28 && sizeof(FILE_STANDARD_INFORMATION) == 0x18);

EXTERN_C_START

/* Closes a handle. Page: ZwClose. */
NTSYSCALLAPI NTSTATUS ZwClose(HANDLE Handle);
/* A second handle for an object of the caller's own process. Page: ZwDuplicateObject. */
NTSYSCALLAPI NTSTATUS ZwDuplicateObject(HANDLE SourceProcessHandle, HANDLE SourceHandle, HANDLE TargetProcessHandle,
                                        PHANDLE TargetHandle, ACCESS_MASK DesiredAccess, ULONG HandleAttributes, ULONG Options);
/* STATUS_INFO_LENGTH_MISMATCH, STATUS_INVALID_INFO_CLASS. Page: ZwQueryObject. */
NTSYSCALLAPI NTSTATUS ZwQueryObject(HANDLE Handle, OBJECT_INFORMATION_CLASS ObjectInformationClass, PVOID ObjectInformation,
                                    ULONG ObjectInformationLength, PULONG ReturnLength);
/* A handle to a process (or a thread of it) by id. STATUS_INVALID_CID, STATUS_INVALID_PARAMETER_MIX (a name and an id).
 * Page: ZwOpenProcess. */
NTSYSCALLAPI NTSTATUS ZwOpenProcess(PHANDLE ProcessHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                                    PCLIENT_ID ClientId);
/* ProcessBasicInformation, ProcessWow64Information and ProcessImageFileName. STATUS_INVALID_INFO_CLASS,
 * STATUS_INFO_LENGTH_MISMATCH. Page: ZwQueryInformationProcess. */
NTSYSCALLAPI NTSTATUS ZwQueryInformationProcess(HANDLE ProcessHandle, PROCESSINFOCLASS ProcessInformationClass,
                                                PVOID ProcessInformation, ULONG ProcessInformationLength, PULONG ReturnLength);
/* Sets a property of a thread (handle with THREAD_SET_INFORMATION, or ZwCurrentThread). ThreadPriority: a KPRIORITY above
 * LOW_PRIORITY, at most HIGH_PRIORITY. ThreadBasePriority: a LONG, -2 to 2, 15 or -15. ThreadPagePriority: a
 * PAGE_PRIORITY_INFORMATION, of one of the values MEMORY_PRIORITY_: pages that the thread faults in are kept by it.
 * ThreadPowerThrottlingState: checked, without effect. STATUS_INFO_LENGTH_MISMATCH, STATUS_INVALID_PARAMETER,
 * STATUS_INVALID_INFO_CLASS, STATUS_INVALID_HANDLE. IRQL = PASSIVE_LEVEL. Page: ZwSetInformationThread, NtSetInformationThread. */
NTSYSCALLAPI NTSTATUS ZwSetInformationThread(HANDLE ThreadHandle, THREADINFOCLASS ThreadInformationClass,
                                             PVOID ThreadInformation, ULONG ThreadInformationLength);
NTSYSCALLAPI NTSTATUS NtSetInformationThread(HANDLE ThreadHandle, THREADINFOCLASS ThreadInformationClass,
                                             PVOID ThreadInformation, ULONG ThreadInformationLength);
/* Loads the driver of the service whose key is \Registry\Machine\System\CurrentControlSet\Services\<Name>: its ImagePath names
 * the file, on drive C: or on a file system of another driver; \SystemRoot is C:\windows. No device is made for a
 * plug-and-play driver. STATUS_INVALID_PARAMETER (not such a key's path), STATUS_OBJECT_NAME_NOT_FOUND (no key, or no file),
 * STATUS_OBJECT_PATH_NOT_FOUND (no such drive), STATUS_ILL_FORMED_SERVICE_ENTRY (ImagePath is no string),
 * STATUS_IMAGE_ALREADY_LOADED, STATUS_INVALID_IMAGE_FORMAT, or what DriverEntry returned. Page: ZwLoadDriver. */
NTSYSCALLAPI NTSTATUS ZwLoadDriver(PUNICODE_STRING DriverServiceName);
/* Calls the driver's DriverUnload and takes it away. STATUS_INVALID_DEVICE_REQUEST: it has no DriverUnload, or its image was
 * loaded by the host. STATUS_DEVICE_BUSY: files are open on its devices. STATUS_OBJECT_NAME_NOT_FOUND. Page: ZwUnloadDriver. */
NTSYSCALLAPI NTSTATUS ZwUnloadDriver(PUNICODE_STRING DriverServiceName);
/* The object's name goes when its last handle closes. Page: ZwMakeTemporaryObject. */
NTSYSCALLAPI NTSTATUS ZwMakeTemporaryObject(HANDLE Handle);
/* STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_NAME_EXISTS (OBJ_OPENIF), STATUS_OBJECT_PATH_NOT_FOUND,
 * STATUS_OBJECT_PATH_SYNTAX_BAD. Page: ZwCreateDirectoryObject, ZwOpenDirectoryObject. */
NTSYSCALLAPI NTSTATUS ZwCreateDirectoryObject(PHANDLE DirectoryHandle, ACCESS_MASK DesiredAccess,
                                              POBJECT_ATTRIBUTES ObjectAttributes);
NTSYSCALLAPI NTSTATUS ZwOpenDirectoryObject(PHANDLE DirectoryHandle, ACCESS_MASK DesiredAccess,
                                            POBJECT_ATTRIBUTES ObjectAttributes);
NTSYSCALLAPI NTSTATUS ZwCreateSymbolicLinkObject(PHANDLE LinkHandle, ACCESS_MASK DesiredAccess,
                                                 POBJECT_ATTRIBUTES ObjectAttributes, PUNICODE_STRING LinkTarget);
NTSYSCALLAPI NTSTATUS ZwOpenSymbolicLinkObject(PHANDLE LinkHandle, ACCESS_MASK DesiredAccess,
                                               POBJECT_ATTRIBUTES ObjectAttributes);
/* STATUS_BUFFER_TOO_SMALL. *ReturnedLength counts bytes, with a terminating null. Page: ZwQuerySymbolicLinkObject. */
NTSYSCALLAPI NTSTATUS ZwQuerySymbolicLinkObject(HANDLE LinkHandle, PUNICODE_STRING LinkTarget, PULONG ReturnedLength);

/* Page: ZwCreateEvent, ZwOpenEvent, ZwSetEvent. Waiting: STATUS_TIMEOUT, or as KeWaitForSingleObject. */
NTSYSCALLAPI NTSTATUS ZwCreateEvent(PHANDLE EventHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                                    EVENT_TYPE EventType, BOOLEAN InitialState);
NTSYSCALLAPI NTSTATUS ZwOpenEvent(PHANDLE EventHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes);
NTSYSCALLAPI NTSTATUS ZwSetEvent(HANDLE EventHandle, PLONG PreviousState);
NTSYSCALLAPI NTSTATUS ZwResetEvent(HANDLE EventHandle, PLONG PreviousState);
NTSYSCALLAPI NTSTATUS ZwClearEvent(HANDLE EventHandle);
NTSYSCALLAPI NTSTATUS ZwWaitForSingleObject(HANDLE Handle, BOOLEAN Alertable, PLARGE_INTEGER Timeout);

/* Opens a device (IRP_MJ_CREATE goes to the top of its stack). There are no host files: a name that leads to none of our
 * devices is STATUS_OBJECT_NAME_NOT_FOUND or STATUS_OBJECT_PATH_NOT_FOUND. Else what the driver answered.
 * Page: ZwCreateFile, ZwOpenFile. */
NTSYSCALLAPI NTSTATUS ZwCreateFile(PHANDLE FileHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                                   PIO_STATUS_BLOCK IoStatusBlock, PLARGE_INTEGER AllocationSize, ULONG FileAttributes,
                                   ULONG ShareAccess, ULONG CreateDisposition, ULONG CreateOptions, PVOID EaBuffer,
                                   ULONG EaLength);
NTSYSCALLAPI NTSTATUS ZwOpenFile(PHANDLE FileHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                                 PIO_STATUS_BLOCK IoStatusBlock, ULONG ShareAccess, ULONG OpenOptions);
/* Requests of a kernel-mode requester. A synchronous file waits; else STATUS_PENDING may return and Event is set at
 * completion. STATUS_INVALID_PARAMETER: no ByteOffset for an asynchronous file; STATUS_NOT_SUPPORTED: an APC routine. Page: ZwReadFile, ZwWriteFile,
 * ZwDeviceIoControlFile, ZwQueryInformationFile, ZwSetInformationFile. */
NTSYSCALLAPI NTSTATUS ZwReadFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext,
                                 PIO_STATUS_BLOCK IoStatusBlock, PVOID Buffer, ULONG Length, PLARGE_INTEGER ByteOffset,
                                 PULONG Key);
NTSYSCALLAPI NTSTATUS ZwWriteFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext,
                                  PIO_STATUS_BLOCK IoStatusBlock, PVOID Buffer, ULONG Length, PLARGE_INTEGER ByteOffset,
                                  PULONG Key);
NTSYSCALLAPI NTSTATUS ZwDeviceIoControlFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext,
                                            PIO_STATUS_BLOCK IoStatusBlock, ULONG IoControlCode, PVOID InputBuffer,
                                            ULONG InputBufferLength, PVOID OutputBuffer, ULONG OutputBufferLength);
NTSYSCALLAPI NTSTATUS ZwFsControlFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext,
                                      PIO_STATUS_BLOCK IoStatusBlock, ULONG FsControlCode, PVOID InputBuffer,
                                      ULONG InputBufferLength, PVOID OutputBuffer, ULONG OutputBufferLength);
NTSYSCALLAPI NTSTATUS ZwQueryInformationFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock, PVOID FileInformation,
                                             ULONG Length, FILE_INFORMATION_CLASS FileInformationClass);
NTSYSCALLAPI NTSTATUS ZwSetInformationFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock, PVOID FileInformation,
                                           ULONG Length, FILE_INFORMATION_CLASS FileInformationClass);

/* The registry is a small tree in memory. STATUS_OBJECT_NAME_NOT_FOUND, STATUS_KEY_DELETED. Page: ZwOpenKey, ZwCreateKey. */
NTSYSCALLAPI NTSTATUS ZwOpenKey(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes);
NTSYSCALLAPI NTSTATUS ZwOpenKeyEx(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                                  ULONG OpenOptions);
NTSYSCALLAPI NTSTATUS ZwCreateKey(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                                  ULONG TitleIndex, PUNICODE_STRING Class, ULONG CreateOptions, PULONG Disposition);
/* STATUS_CANNOT_DELETE: it has subkeys. Page: ZwDeleteKey, ZwFlushKey. */
NTSYSCALLAPI NTSTATUS ZwDeleteKey(HANDLE KeyHandle);
NTSYSCALLAPI NTSTATUS ZwFlushKey(HANDLE KeyHandle);
/* STATUS_BUFFER_TOO_SMALL (not even the fixed part fits), STATUS_BUFFER_OVERFLOW (the fixed part and some of the rest were
 * stored), STATUS_NO_MORE_ENTRIES, STATUS_INVALID_PARAMETER (class); *ResultLength is the whole size.
 * Page: ZwQueryKey, ZwEnumerateKey, ZwQueryValueKey, ZwEnumerateValueKey. */
NTSYSCALLAPI NTSTATUS ZwQueryKey(HANDLE KeyHandle, KEY_INFORMATION_CLASS KeyInformationClass, PVOID KeyInformation,
                                 ULONG Length, PULONG ResultLength);
NTSYSCALLAPI NTSTATUS ZwEnumerateKey(HANDLE KeyHandle, ULONG Index, KEY_INFORMATION_CLASS KeyInformationClass,
                                     PVOID KeyInformation, ULONG Length, PULONG ResultLength);
NTSYSCALLAPI NTSTATUS ZwQueryValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName,
                                      KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass, PVOID KeyValueInformation,
                                      ULONG Length, PULONG ResultLength);
NTSYSCALLAPI NTSTATUS ZwEnumerateValueKey(HANDLE KeyHandle, ULONG Index, KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass,
                                          PVOID KeyValueInformation, ULONG Length, PULONG ResultLength);
NTSYSCALLAPI NTSTATUS ZwSetValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName, ULONG TitleIndex, ULONG Type, PVOID Data,
                                    ULONG DataSize);
NTSYSCALLAPI NTSTATUS ZwDeleteValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName);

/* Reads values as a table says. STATUS_OBJECT_NAME_NOT_FOUND (a path, or a value marked REQUIRED), STATUS_INVALID_PARAMETER,
 * STATUS_OBJECT_TYPE_MISMATCH (TYPECHECK), STATUS_BUFFER_TOO_SMALL (a DIRECT string), or what a query routine returned.
 * Page: RtlQueryRegistryValues, RtlWriteRegistryValue, RtlDeleteRegistryValue, RtlCheckRegistryKey, RtlCreateRegistryKey. */
NTSYSAPI NTSTATUS RtlQueryRegistryValues(ULONG RelativeTo, PCWSTR Path, PRTL_QUERY_REGISTRY_TABLE QueryTable, PVOID Context,
                                         PVOID Environment);
NTSYSAPI NTSTATUS RtlWriteRegistryValue(ULONG RelativeTo, PCWSTR Path, PCWSTR ValueName, ULONG ValueType, PVOID ValueData,
                                        ULONG ValueLength);
NTSYSAPI NTSTATUS RtlDeleteRegistryValue(ULONG RelativeTo, PCWSTR Path, PCWSTR ValueName);
NTSYSAPI NTSTATUS RtlCheckRegistryKey(ULONG RelativeTo, PWSTR Path);
NTSYSAPI NTSTATUS RtlCreateRegistryKey(ULONG RelativeTo, PWSTR Path);

EXTERN_C_END

#endif
