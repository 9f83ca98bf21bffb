-- The health of an object of disaster-recovery-operator, from what the operator says in its status (docs/gitops.md has the table).
-- Scripts of argocd-cm have no library but Lua's base; a field that is null is absent here.

local function fields(value)
  if type(value) == "table" then
    return value
  end
  return {}
end

local metadata, spec, status = fields(obj.metadata), fields(obj.spec), fields(obj.status)

-- A condition counts only if it is about the present spec.
local function said(kind)
  for _, found in ipairs(fields(status.conditions)) do
    local condition = fields(found)
    if condition.type == kind and condition.observedGeneration == metadata.generation then
      return condition
    end
  end
  return {}
end

local function text(condition, otherwise)
  if type(condition.message) == "string" and condition.message ~= "" then
    return condition.message
  end
  return otherwise
end

local ready, synced, stalled, reconciling = said("Ready"), said("Synced"), said("Stalled"), said("Reconciling")

-- Argo CD itself shows an object that is being deleted as Progressing; this is for who asks the script.
if metadata.deletionTimestamp ~= nil then
  local why = text(synced, text(ready, "the object is being deleted"))
  if stalled.status == "True" or synced.reason == "DeletionBlocked" then
    return { status = "Degraded", message = why }
  end
  return { status = "Progressing", message = why }
end

if metadata.generation == nil or status.observedGeneration ~= metadata.generation then
  return { status = "Progressing", message = "the operator has not looked at the present spec yet" }
end

if spec.suspend == true or synced.reason == "Suspended" then
  return { status = "Suspended", message = text(synced, "spec.suspend is true") }
end

if stalled.status == "True" then
  return { status = "Degraded", message = text(stalled, "a person has to act") }
end

if reconciling.status == "True" then
  local message, work = text(ready, "the object is not ready"), text(reconciling, "work goes on")
  if work ~= message then
    message = message .. "; " .. work
  end
  return { status = "Progressing", message = message }
end

if ready.status ~= "True" then
  return { status = "Progressing", message = text(ready, "nothing is known of the object's readiness") }
end

local function also(condition, what)
  if condition.status == nil or condition.status == "True" then
    return ""
  end
  local known = "; not known to be "
  if condition.status == "False" then
    known = "; not "
  end
  return known .. what .. ": " .. text(condition, "no reason is given")
end

-- What is ready is Healthy. What else a person may want to know of it is in the message.
local message = text(ready, "the object is ready") .. also(synced, "in sync") .. also(said("Protected"), "protected")
local drill = said("DrillNotCleared")
if drill.status == "True" then
  message = message .. "; " .. text(drill, "a drill is not cleared")
end
return { status = "Healthy", message = message }
