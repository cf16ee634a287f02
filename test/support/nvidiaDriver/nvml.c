/* The functions of NVML that Vouchsafe calls, with the names, prototypes and structures of nvml.h. */
#include "driver.h"

typedef int nvmlReturn_t;
typedef struct nvmlDevice_st *nvmlDevice_t;

typedef struct {
  unsigned int environment;
  unsigned int ccFeature;
  unsigned int devToolsMode;
} nvmlConfComputeSystemState_t;

typedef struct {
  unsigned int version;
  unsigned int environment;
  unsigned int ccFeature;
  unsigned int devToolsMode;
  unsigned int multiGpuMode;
} nvmlSystemConfComputeSettings_v1_t;

typedef struct {
  unsigned int certChainSize;
  unsigned int attestationCertChainSize;
  unsigned char certChain[0x1000];
  unsigned char attestationCertChain[0x1400];
} nvmlConfComputeGpuCertificate_t;

typedef struct {
  unsigned int isCecAttestationReportPresent;
  unsigned int attestationReportSize;
  unsigned int cecAttestationReportSize;
  unsigned char nonce[0x20];
  unsigned char attestationReport[0x2000];
  unsigned char cecAttestationReport[0x1000];
} nvmlConfComputeGpuAttestationReport_t;

_Static_assert(sizeof(nvmlConfComputeSystemState_t) == 12, "state");
_Static_assert(sizeof(nvmlSystemConfComputeSettings_v1_t) == 20, "settings");
_Static_assert(sizeof(nvmlConfComputeGpuCertificate_t) == 9224, "certificate");
_Static_assert(sizeof(nvmlConfComputeGpuAttestationReport_t) == 12332, "report");

#define SETTINGS_V1 (sizeof(nvmlSystemConfComputeSettings_v1_t) | (1u << 24))
#define VERSION_MISMATCH 25
#define INSUFFICIENT_SIZE 7
/* Handles are addresses that nobody may look into. */
#define HANDLE 0x10000u

static char *device_question(char *line, const char *name, nvmlDevice_t device) {
  sprintf(line, "%s %u\n", name, (unsigned int)((uintptr_t)device - HANDLE));
  return line;
}

static nvmlReturn_t text(const char *question, char *to, unsigned int room) {
  answer_t answer;
  ask(&answer, question);
  if (answer.code != 0) return answer.code;
  if (answer.length > room) return INSUFFICIENT_SIZE;
  copy(to, room, &answer);
  return 0;
}

static nvmlReturn_t number(const char *question, unsigned int *to) {
  answer_t answer;
  ask(&answer, question);
  if (answer.code == 0) *to = answer.number;
  return answer.code;
}

nvmlReturn_t nvmlInit_v2(void) {
  unsigned int ignored;
  return number("nvmlInit_v2\n", &ignored);
}

nvmlReturn_t nvmlShutdown(void) {
  unsigned int ignored;
  return number("nvmlShutdown\n", &ignored);
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
  return text("nvmlSystemGetDriverVersion\n", version, length);
}

nvmlReturn_t nvmlSystemGetConfComputeState(nvmlConfComputeSystemState_t *state) {
  answer_t answer;
  ask(&answer, "nvmlSystemGetConfComputeState\n");
  if (answer.code == 0) copy(state, sizeof *state, &answer);
  return answer.code;
}

#ifndef WITHOUT_SETTINGS
nvmlReturn_t nvmlSystemGetConfComputeSettings(nvmlSystemConfComputeSettings_v1_t *settings) {
  answer_t answer;
  if (settings->version != SETTINGS_V1) return VERSION_MISMATCH;
  ask(&answer, "nvmlSystemGetConfComputeSettings\n");
  if (answer.code == 0) copy(&settings->environment, sizeof *settings - 4, &answer);
  return answer.code;
}
#endif

nvmlReturn_t nvmlSystemGetConfComputeGpusReadyState(unsigned int *isAcceptingWork) {
  return number("nvmlSystemGetConfComputeGpusReadyState\n", isAcceptingWork);
}

nvmlReturn_t nvmlSystemSetConfComputeGpusReadyState(unsigned int isAcceptingWork) {
  char line[128];
  unsigned int ignored;
  sprintf(line, "nvmlSystemSetConfComputeGpusReadyState %u\n", isAcceptingWork);
  return number(line, &ignored);
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) { return number("nvmlDeviceGetCount_v2\n", count); }

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
  char line[128];
  unsigned int place;
  sprintf(line, "nvmlDeviceGetHandleByIndex_v2 %u\n", index);
  nvmlReturn_t code = number(line, &place);
  if (code == 0) *device = (nvmlDevice_t)(uintptr_t)(HANDLE + place);
  return code;
}

nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t device, unsigned int *architecture) {
  char line[128];
  return number(device_question(line, "nvmlDeviceGetArchitecture", device), architecture);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
  char line[128];
  return text(device_question(line, "nvmlDeviceGetUUID", device), uuid, length);
}

nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlDevice_t device, char *version, unsigned int length) {
  char line[128];
  return text(device_question(line, "nvmlDeviceGetVbiosVersion", device), version, length);
}

nvmlReturn_t nvmlDeviceGetConfComputeGpuCertificate(nvmlDevice_t device,
                                                    nvmlConfComputeGpuCertificate_t *certificate) {
  char line[128];
  answer_t answer;
  ask(&answer, device_question(line, "nvmlDeviceGetConfComputeGpuCertificate", device));
  if (answer.code != 0) return answer.code;
  certificate->attestationCertChainSize = answer.number;
  copy(certificate->attestationCertChain, sizeof certificate->attestationCertChain, &answer);
  return 0;
}

#ifndef WITHOUT_REPORT
nvmlReturn_t nvmlDeviceGetConfComputeGpuAttestationReport(nvmlDevice_t device,
                                                          nvmlConfComputeGpuAttestationReport_t *report) {
  char line[256], nonce[65];
  answer_t answer;
  hex(nonce, report->nonce, sizeof report->nonce);
  sprintf(line, "nvmlDeviceGetConfComputeGpuAttestationReport %u %s\n",
          (unsigned int)((uintptr_t)device - HANDLE), nonce);
  ask(&answer, line);
  if (answer.code != 0) return answer.code;
  report->attestationReportSize = answer.number;
  copy(report->attestationReport, sizeof report->attestationReport, &answer);
  return 0;
}
#endif
