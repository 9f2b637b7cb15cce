-- Sends prepared requests in turn, and says what came of it as JSON.
-- Arguments: method, accept, and a file with a request a line: its path, a tab, and a JSON body,
-- which is empty for requests that have none.
local requests = {}
local at = 0

function init(args)
  for line in io.lines(args[3]) do
    local path, body = line:match('^([^\t]*)\t(.*)$')
    local headers = { ['accept'] = args[2] }
    if body == '' then
      body = nil
    else
      headers['content-type'] = 'application/json'
    end
    requests[#requests + 1] = wrk.format(args[1], path, headers, body)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"micros":%d,"failed":%d,"p50":%f,"p99":%f,"most":%f}\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
