/*
 * ps.h - processes and threads as drivers see them, and the few security questions that drivers ask.
 *
 * System (id 4) is there always; the host-side API makes others, each with an address space of its own, and makes requests in the name
 * of one.
 * SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_PS_
#define _NTMM_PS_

typedef struct _CLIENT_ID {
    HANDLE UniqueProcess;
    HANDLE UniqueThread;
} CLIENT_ID, *PCLIENT_ID;

#define NtCurrentProcess() ((HANDLE)(LONG_PTR)-1)
#define ZwCurrentProcess() NtCurrentProcess()
#define NtCurrentThread()  ((HANDLE)(LONG_PTR)-2)
#define ZwCurrentThread()  NtCurrentThread()

typedef struct _PS_CREATE_NOTIFY_INFO {
    SIZE_T Size;
    union {
        ULONG Flags;
        struct {
            ULONG FileOpenNameAvailable : 1;
            ULONG IsSubsystemProcess : 1;
            ULONG Reserved : 30;
        };
    };
    HANDLE ParentProcessId;
    CLIENT_ID CreatingThreadId;
    struct _FILE_OBJECT *FileObject;
    PCUNICODE_STRING ImageFileName;
    PCUNICODE_STRING CommandLine;
    NTSTATUS CreationStatus;
} PS_CREATE_NOTIFY_INFO, *PPS_CREATE_NOTIFY_INFO;

typedef struct _IMAGE_INFO {
    union {
        ULONG Properties;
        struct {
            ULONG ImageAddressingMode : 8;
            ULONG SystemModeImage : 1;
            ULONG ImageMappedToAllPids : 1;
            ULONG ExtendedInfoPresent : 1;
            ULONG MachineTypeMismatch : 1;
            ULONG ImageSignatureLevel : 4;
            ULONG ImageSignatureType : 3;
            ULONG ImagePartialMap : 1;
            ULONG Reserved : 12;
        };
    };
    PVOID ImageBase;
    ULONG ImageSelector;
    SIZE_T ImageSize;
    ULONG ImageSectionNumber;
} IMAGE_INFO, *PIMAGE_INFO;
C_ASSERT(sizeof(IMAGE_INFO) == 0x28);

typedef VOID CREATE_PROCESS_NOTIFY_ROUTINE(HANDLE ParentId, HANDLE ProcessId, BOOLEAN Create);
typedef CREATE_PROCESS_NOTIFY_ROUTINE *PCREATE_PROCESS_NOTIFY_ROUTINE;
typedef VOID CREATE_PROCESS_NOTIFY_ROUTINE_EX(PEPROCESS Process, HANDLE ProcessId, PPS_CREATE_NOTIFY_INFO CreateInfo);
typedef CREATE_PROCESS_NOTIFY_ROUTINE_EX *PCREATE_PROCESS_NOTIFY_ROUTINE_EX;
typedef VOID CREATE_THREAD_NOTIFY_ROUTINE(HANDLE ProcessId, HANDLE ThreadId, BOOLEAN Create);
typedef CREATE_THREAD_NOTIFY_ROUTINE *PCREATE_THREAD_NOTIFY_ROUTINE;
typedef VOID LOAD_IMAGE_NOTIFY_ROUTINE(PUNICODE_STRING FullImageName, HANDLE ProcessId, PIMAGE_INFO ImageInfo);
typedef LOAD_IMAGE_NOTIFY_ROUTINE *PLOAD_IMAGE_NOTIFY_ROUTINE;

#define PROCESS_TERMINATE         0x0001
#define PROCESS_CREATE_THREAD     0x0002
#define PROCESS_DUP_HANDLE        0x0040
#define PROCESS_QUERY_INFORMATION 0x0400
#define PROCESS_ALL_ACCESS        (STANDARD_RIGHTS_REQUIRED | SYNCHRONIZE | 0xFFFF)
#define THREAD_TERMINATE          0x0001
#define THREAD_SUSPEND_RESUME     0x0002
#define THREAD_ALERT              0x0004
#define THREAD_SET_INFORMATION    0x0020
#define THREAD_QUERY_INFORMATION  0x0040
#define THREAD_ALL_ACCESS         (STANDARD_RIGHTS_REQUIRED | SYNCHRONIZE | 0xFFFF)

typedef enum _PROCESSINFOCLASS {
    ProcessBasicInformation = 0,
    ProcessDebugPort = 7,
    ProcessWow64Information = 26,
    ProcessImageFileName = 27,
    ProcessBreakOnTermination = 29
} PROCESSINFOCLASS;
typedef enum _THREADINFOCLASS {
    ThreadPriority = 2,
    ThreadBasePriority = 3,
    ThreadPagePriority = 24,
    ThreadPowerThrottlingState = 49
} THREADINFOCLASS;
/* ThreadPagePriority: how long pages that the thread brings into RAM stay there once nobody maps them; the lowest go first. */
#define MEMORY_PRIORITY_VERY_LOW     1
#define MEMORY_PRIORITY_LOW          2
#define MEMORY_PRIORITY_MEDIUM       3
#define MEMORY_PRIORITY_BELOW_NORMAL 4
#define MEMORY_PRIORITY_NORMAL       5
typedef struct _PAGE_PRIORITY_INFORMATION {
    ULONG PagePriority;
} PAGE_PRIORITY_INFORMATION, *PPAGE_PRIORITY_INFORMATION;
#define POWER_THROTTLING_THREAD_CURRENT_VERSION 1
#define POWER_THROTTLING_THREAD_EXECUTION_SPEED 0x1
#define POWER_THROTTLING_THREAD_VALID_FLAGS     POWER_THROTTLING_THREAD_EXECUTION_SPEED
typedef struct _POWER_THROTTLING_THREAD_STATE {
    ULONG Version;
    ULONG ControlMask;
    ULONG StateMask;
} POWER_THROTTLING_THREAD_STATE, *PPOWER_THROTTLING_THREAD_STATE;
typedef struct _PROCESS_BASIC_INFORMATION {
    NTSTATUS ExitStatus;
    PVOID PebBaseAddress;
    ULONG_PTR AffinityMask;
    KPRIORITY BasePriority;
    ULONG_PTR UniqueProcessId;
    ULONG_PTR InheritedFromUniqueProcessId;
} PROCESS_BASIC_INFORMATION, *PPROCESS_BASIC_INFORMATION;
C_ASSERT(sizeof(PROCESS_BASIC_INFORMATION) == 0x30);

EXTERN_C_START

/* The System process. Page: PsInitialSystemProcess. */
extern NTKERNELAPI PEPROCESS PsInitialSystemProcess;

/* The process whose address space is in use: the one attached to, else the thread's own. Any IRQL <= DISPATCH_LEVEL; not
 * referenced. Page: PsGetCurrentProcess, IoGetCurrentProcess. */
NTKERNELAPI PEPROCESS PsGetCurrentProcess(VOID);
NTKERNELAPI PEPROCESS IoGetCurrentProcess(VOID);
/* The id of the thread's own process (attaching does not change it). Page: PsGetCurrentProcessId. */
NTKERNELAPI HANDLE PsGetCurrentProcessId(VOID);
NTKERNELAPI HANDLE PsGetProcessId(PEPROCESS Process);
/* A referenced process by id. IRQL <= APC_LEVEL. STATUS_INVALID_CID. Page: PsLookupProcessByProcessId. */
NTKERNELAPI NTSTATUS PsLookupProcessByProcessId(HANDLE ProcessId, PEPROCESS *Process);
NTKERNELAPI HANDLE PsGetProcessInheritedFromUniqueProcessId(PEPROCESS Process);
NTKERNELAPI BOOLEAN IoIsSystemThread(PETHREAD Thread);
NTKERNELAPI LONGLONG PsGetProcessCreateTimeQuadPart(PEPROCESS Process);
NTKERNELAPI NTSTATUS PsGetProcessExitStatus(PEPROCESS Process);
NTKERNELAPI PCHAR PsGetProcessImageFileName(PEPROCESS Process);
NTKERNELAPI PVOID PsGetProcessSectionBaseAddress(PEPROCESS Process);
NTKERNELAPI PVOID PsGetProcessJob(PEPROCESS Process);
NTKERNELAPI PVOID PsGetProcessWow64Process(PEPROCESS Process);

/* Makes a thread of the system that runs StartRoutine(StartContext) at PASSIVE_LEVEL on a kernel stack, and a handle to it (kernel handle
 * with OBJ_KERNEL_HANDLE), which the caller closes. ProcessHandle may be NULL; ClientId may be. STATUS_INSUFFICIENT_RESOURCES.
 * IRQL = PASSIVE_LEVEL. Page: PsCreateSystemThread. */
NTKERNELAPI NTSTATUS PsCreateSystemThread(PHANDLE ThreadHandle, ULONG DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                                          HANDLE ProcessHandle, PCLIENT_ID ClientId, PKSTART_ROUTINE StartRoutine,
                                          PVOID StartContext);
/* Ends the calling thread, which PsCreateSystemThread made; any other gets STATUS_INVALID_PARAMETER. At a raised IRQL or inside a
 * critical region it is bug check 0x20, owning a mutex 0x4000008A. Page: PsTerminateSystemThread. */
NTKERNELAPI NTSTATUS PsTerminateSystemThread(NTSTATUS ExitStatus);
NTKERNELAPI PETHREAD PsGetCurrentThread(VOID);
#define PsGetCurrentThread() ((PETHREAD)KeGetCurrentThread())
/* STATUS_PENDING while it runs. */
NTKERNELAPI NTSTATUS PsGetThreadExitStatus(PETHREAD Thread);
/* Threads. Page: PsGetCurrentThreadId, PsGetThreadId, PsGetThreadProcessId, PsLookupThreadByThreadId, PsIsSystemThread. */
NTKERNELAPI HANDLE PsGetCurrentThreadId(VOID);
NTKERNELAPI HANDLE PsGetThreadId(PETHREAD Thread);
NTKERNELAPI HANDLE PsGetThreadProcessId(PETHREAD Thread);
NTKERNELAPI PEPROCESS PsGetThreadProcess(PETHREAD Thread);
NTKERNELAPI PEPROCESS IoThreadToProcess(PETHREAD Thread);
/* STATUS_INVALID_CID. Referenced. */
NTKERNELAPI NTSTATUS PsLookupThreadByThreadId(HANDLE ThreadId, PETHREAD *Thread);
NTKERNELAPI BOOLEAN PsIsSystemThread(PETHREAD Thread);
NTKERNELAPI BOOLEAN PsIsSystemProcess(PEPROCESS Process);
NTKERNELAPI BOOLEAN PsIsThreadTerminating(PETHREAD Thread);
/* UserMode while a request of the user process is served on its own thread, else KernelMode.
 * Page: ExGetPreviousMode. */
NTKERNELAPI KPROCESSOR_MODE ExGetPreviousMode(VOID);

/* Uses another process's address space until undone: user addresses of the process that is left fault meanwhile. IRQL <= APC_LEVEL. KeAttachProcess while attached elsewhere, and any of
 * them in a DPC: INVALID_PROCESS_ATTACH_ATTEMPT (0x05). Page: KeStackAttachProcess, KeUnstackDetachProcess. */
NTKERNELAPI VOID KeStackAttachProcess(PRKPROCESS Process, PRKAPC_STATE ApcState);
NTKERNELAPI VOID KeUnstackDetachProcess(PRKAPC_STATE ApcState);
NTKERNELAPI VOID KeAttachProcess(PRKPROCESS Process);
NTKERNELAPI VOID KeDetachProcess(VOID);
/* TRUE between an attach to another process and its detach. Any IRQL. Undocumented. */
NTKERNELAPI BOOLEAN KeIsAttachedProcess(VOID);
/* Holds off the end of a process's address space until released. STATUS_PROCESS_IS_TERMINATING: it has begun. IRQL <= APC_LEVEL.
 * Undocumented. */
NTKERNELAPI NTSTATUS PsAcquireProcessExitSynchronization(PEPROCESS Process);
NTKERNELAPI VOID PsReleaseProcessExitSynchronization(PEPROCESS Process);

/* Notifications. Registering: STATUS_INVALID_PARAMETER (already registered, or not registered when removing),
 * STATUS_INSUFFICIENT_RESOURCES (64 are). Removing an unknown image or thread routine: STATUS_PROCEDURE_NOT_FOUND. PASSIVE_LEVEL.
 * Page: PsSetCreateProcessNotifyRoutine(Ex), PsSetCreateThreadNotifyRoutine, PsSetLoadImageNotifyRoutine. */
NTKERNELAPI NTSTATUS PsSetCreateProcessNotifyRoutine(PCREATE_PROCESS_NOTIFY_ROUTINE NotifyRoutine, BOOLEAN Remove);
NTKERNELAPI NTSTATUS PsSetCreateProcessNotifyRoutineEx(PCREATE_PROCESS_NOTIFY_ROUTINE_EX NotifyRoutine, BOOLEAN Remove);
NTKERNELAPI NTSTATUS PsSetCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE NotifyRoutine);
NTKERNELAPI NTSTATUS PsRemoveCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE NotifyRoutine);
NTKERNELAPI NTSTATUS PsSetLoadImageNotifyRoutine(PLOAD_IMAGE_NOTIFY_ROUTINE NotifyRoutine);
NTKERNELAPI NTSTATUS PsRemoveLoadImageNotifyRoutine(PLOAD_IMAGE_NOTIFY_ROUTINE NotifyRoutine);

/* The version this system reports: 10.0, build 19045. TRUE: a checked build (never). Page: PsGetVersion. */
/* The build number; 0xF in the high four bits stands for a free build. */
extern NTKERNELAPI ULONG NtBuildNumber;
NTKERNELAPI BOOLEAN PsGetVersion(PULONG MajorVersion, PULONG MinorVersion, PULONG BuildNumber, PUNICODE_STRING CSDVersion);

/* Pool quota: Amount bytes of a process's nonpaged or paged quota (PoolType; limits: ntmm_set_pool_quota). PsChargePoolQuota raises
 * STATUS_QUOTA_EXCEEDED and charges nothing if the limit would be passed; the ProcessXxx forms return it. PsReturnPoolQuota raises
 * STATUS_QUOTA_EXCEEDED if more is returned than charged; the PsReturnProcessXxx forms make bug check 0x21. Each charge needs one
 * return. IRQL <= DISPATCH_LEVEL. Page: PsChargePoolQuota, PsReturnPoolQuota. */
NTKERNELAPI VOID PsChargePoolQuota(PEPROCESS Process, POOL_TYPE PoolType, ULONG_PTR Amount);
NTKERNELAPI NTSTATUS PsChargeProcessPoolQuota(PEPROCESS Process, POOL_TYPE PoolType, ULONG_PTR Amount);
NTKERNELAPI NTSTATUS PsChargeProcessPagedPoolQuota(PEPROCESS Process, ULONG_PTR Amount);
NTKERNELAPI NTSTATUS PsChargeProcessNonPagedPoolQuota(PEPROCESS Process, ULONG_PTR Amount);
NTKERNELAPI VOID PsReturnPoolQuota(PEPROCESS Process, POOL_TYPE PoolType, ULONG_PTR Amount);
NTKERNELAPI VOID PsReturnProcessPagedPoolQuota(PEPROCESS Process, ULONG_PTR Amount);
NTKERNELAPI VOID PsReturnProcessNonPagedPoolQuota(PEPROCESS Process, ULONG_PTR Amount);

/* The caller holds every privilege when KernelMode, and those of an administrator when UserMode.
 * Page: SeSinglePrivilegeCheck, SePrivilegeCheck. */
NTKERNELAPI BOOLEAN SeSinglePrivilegeCheck(LUID PrivilegeValue, KPROCESSOR_MODE PreviousMode);
NTKERNELAPI BOOLEAN SePrivilegeCheck(PPRIVILEGE_SET RequiredPrivileges, PSECURITY_SUBJECT_CONTEXT SubjectSecurityContext,
                                     KPROCESSOR_MODE AccessMode);
NTKERNELAPI VOID SeCaptureSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext);
NTKERNELAPI VOID SeReleaseSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext);
NTKERNELAPI VOID SeLockSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext);
NTKERNELAPI VOID SeUnlockSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext);

EXTERN_C_END

#endif
