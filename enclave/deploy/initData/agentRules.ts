/**
 * Rules of the agent policy, in Rego (version 0 with the keywords of version 1, as the agent's engine reads it). What
 * no rule allows is refused. The requests are those of Kata Containers 4.1 (`src/libs/protocols/protos/agent.proto`):
 * the host makes them, so every member of them is what an attacker says.
 */
export const AGENT_RULES = String.raw`package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

default AllowRequestsFailingPolicy := false

# Lifecycle without a choice of what runs.
default DestroySandboxRequest := true
default GetOOMEventRequest := true
default GuestDetailsRequest := true
default OnlineCPUMemRequest := true
default RemoveContainerRequest := true
default RemoveStaleVirtiofsShareMountsRequest := true
default StartContainerRequest := true
default StatsContainerRequest := true
default WaitProcessRequest := true

# Decided below.
default AddARPNeighborsRequest := false
default CopyFileRequest := false
default CreateContainerRequest := false
default CreateSandboxRequest := false
default SignalProcessRequest := false
default UpdateInterfaceRequest := false
default UpdateRoutesRequest := false

# Never.
default AddSwapPathRequest := false
default AddSwapRequest := false
default CloseStdinRequest := false
default ExecProcessRequest := false
default GetDiagnosticDataRequest := false
default GetIPTablesRequest := false
default GetMetricsRequest := false
default ListInterfacesRequest := false
default ListRoutesRequest := false
default MemAgentCompactConfig := false
default MemAgentMemcgConfig := false
default MemHotplugByProbeRequest := false
default PauseContainerRequest := false
default ReadStreamRequest := false
default ReseedRandomDevRequest := false
default ResizeVolumeRequest := false
default ResumeContainerRequest := false
default SetGuestDateTimeRequest := false
default SetIPTablesRequest := false
default SetPolicyRequest := false
default StartTracingRequest := false
default StopTracingRequest := false
default TtyWinResizeRequest := false
default UpdateContainerRequest := false
default UpdateEphemeralMountsRequest := false
default VolumeStatsRequest := false
default WriteStreamRequest := false

CreateSandboxRequest if {
    count(input.guest_hook_path) == 0
    count(input.kernel_modules) == 0
    input.sandbox_pidns == false
    every storage in input.storages {
        storage.driver == "ephemeral"
        storage.fstype == "tmpfs"
        storage.mount_point == "/run/kata-containers/sandbox/shm"
    }
}

# The pause container: the agent takes program and files of it from the guest, where both the annotation and the
# storage say that it is one. With only one of them it would run /pause of an image of the host's choice.
CreateContainerRequest if {
    allowed_container
    input.OCI.Annotations["io.kubernetes.cri.container-type"] == "sandbox"
    storage := input.storages[0]
    volume := json.unmarshal(trim_prefix(storage.driver_options[0], "image_guest_pull="))
    volume.metadata["io.kubernetes.cri.container-type"] == "sandbox"
}

# The service.
CreateContainerRequest if {
    allowed_container
    input.OCI.Annotations["io.kubernetes.cri.container-type"] == "container"
    input.storages[0].source == policy_data.image
    input.OCI.Root.Readonly == true
    process := input.OCI.Process
    process.Args == policy_data.args
    process.Cwd == policy_data.working_folder
    process.User.UID == policy_data.uid
    process.User.GID == policy_data.gid
    every variable in policy_data.environment {
        variable in process.Env
    }
    every variable in process.Env {
        allowed_variable(variable)
    }
}

# What holds for both: no hooks, no devices, no files of the host, namespaces of their own.
allowed_container if {
    count(input.shared_mounts) == 0
    count(input.devices) == 0
    input.sandbox_pidns == false
    is_null(input.string_user)
    oci := input.OCI
    is_null(oci.Hooks)
    is_null(oci.Solaris)
    is_null(oci.Windows)
    oci.Process.Terminal == false
    count(oci.Linux.Devices) == 0
    count(oci.Linux.GIDMappings) == 0
    count(oci.Linux.UIDMappings) == 0
    oci.Root.Path == concat("/", ["/run/kata-containers", input.container_id, "rootfs"])
    every name, value in oci.Annotations {
        allowed_annotation(name)
    }
    every name, value in oci.Linux.Sysctl {
        startswith(name, "net.ipv4.")
    }
    every namespace in oci.Linux.Namespaces {
        allowed_namespace(namespace)
    }
    every mount in oci.Mounts {
        allowed_mount(mount)
    }
    count(input.storages) == 1
    storage := input.storages[0]
    storage.driver == "image_guest_pull"
    storage.fstype == "overlay"
    count(storage.options) == 0
    storage.mount_point == oci.Root.Path
    count(storage.driver_options) == 1
    startswith(storage.driver_options[0], "image_guest_pull=")
}

allowed_annotation(name) if {
    startswith(name, "io.kubernetes.cri.")
}

allowed_annotation(name) if {
    startswith(name, "io.katacontainers.pkg.oci.")
}

allowed_annotation(name) if {
    name == "nerdctl/network-namespace"
}

allowed_namespace(namespace) if {
    namespace.Path == ""
    namespace.Type in {"ipc", "uts", "mount", "pid", "cgroup"}
}

allowed_namespace(namespace) if {
    namespace.Type == "network"
}

allowed_variable(variable) if {
    variable in policy_data.environment
}

allowed_variable(variable) if {
    regex.match("^(HOSTNAME|KUBERNETES_(SERVICE|PORT)[A-Z0-9_]*)=[A-Za-z0-9.:/_-]*$", variable)
}

# A bind mount is one by its options, whatever its type says.
file_systems := {
    "/proc": {"proc": "proc"},
    "/dev": {"tmpfs": "tmpfs"},
    "/dev/pts": {"devpts": "devpts"},
    "/dev/mqueue": {"mqueue": "mqueue"},
    "/sys": {"sysfs": "sysfs"},
    "/sys/fs/cgroup": {"cgroup": "cgroup"},
}

allowed_mount(mount) if {
    source := file_systems[mount.destination][mount.type_]
    mount.source == source
    every option in mount.options {
        not option in {"bind", "rbind"}
    }
}

allowed_mount(mount) if {
    mount.destination == "/dev/shm"
    mount.type_ == "bind"
    mount.source == "/run/kata-containers/sandbox/shm"
}

shared_folder := "^/run/kata-containers/shared/containers/((passthrough|watchable)/)?[a-z0-9][a-z0-9.-]*-[0-9a-f]{16}-"

shared_files := {
    "/etc/hosts": "hosts$",
    "/etc/hostname": "hostname$",
    "/etc/resolv.conf": "resolv[.]conf$",
    "/dev/termination-log": "termination-log$",
}

allowed_mount(mount) if {
    mount.type_ == "bind"
    regex.match(concat("", [shared_folder, shared_files[mount.destination]]), mount.source)
}

CopyFileRequest if {
    input.file_type == "Regular"
    some name in shared_files
    regex.match(concat("", [shared_folder, name]), input.path)
}

# SIGTERM and SIGKILL. SIGUSR1 would open the debugger of Node.js.
SignalProcessRequest if {
    input.signal in {9, 15}
}

UpdateInterfaceRequest if {
    input.interface.name != "lo"
    input.interface.hwAddr != "00:00:00:00:00:00"
}

UpdateRoutesRequest if {
    every route in input.routes.Routes {
        route.device != "lo"
        not startswith(route.source, "127.")
    }
}

AddARPNeighborsRequest if {
    every neighbor in input.neighbors.ARPNeighbors {
        neighbor.device != "lo"
    }
}
`;
