use super::*;

#[test]
fn page_bounds_follow_documentation() {
    for (number, size, plans, checkpoints) in [
        (1, 10, true, true),
        (1, 9, false, true),
        (1, 10_000, true, true),
        (1, 10_001, false, true),
        (1, 0, false, false),
        (0, 10, false, false),
        (100_000_001, 10, false, false),
    ] {
        assert_eq!(Paging::of_plans_or_items(Some(number), Some(size)).is_ok(), plans, "{number} {size}");
        assert_eq!(Paging::of_checkpoints(Some(number), Some(size)).is_ok(), checkpoints, "{number} {size}");
    }
    let mut model = Model::new(Rules::default());
    for _ in 0..25 {
        model.create_plan(REGION, one_way(), T0).unwrap();
    }
    for (number, expected) in [(1, 10), (3, 5), (4, 0)] {
        let paging = Paging::of_plans_or_items(Some(number), None).unwrap();
        let page = model.list_plans(REGION, &PlanFilter::default(), &paging, T0);
        assert_eq!((page.list.len(), page.total_count, page.page_size), (expected, 25, 10));
    }
}

#[test]
fn list_filters_follow_documentation() {
    let (mut model, plan, ids) = cloud();
    let paging = Paging::of_plans_or_items(None, None).unwrap();
    for (instance, filter, expected) in [
        (None, Some("rder"), 1),
        (None, Some("[mark]"), 1),
        (None, Some("payments"), 0),
        (Some("rmq-b"), None, 1),
        (Some("rmq-c"), None, 0),
        (Some(""), Some(""), 1),
    ] {
        let filter = PlanFilter { instance_id: instance.map(str::to_owned), filter: filter.map(str::to_owned) };
        assert_eq!(model.list_plans(REGION, &filter, &paging, T0).total_count, expected, "{filter:?}");
    }
    for (name, filter, expected) in
        [(Some("orders"), None, 1), (Some("order"), None, 0), (None, Some("copy"), 1), (None, Some("x"), 0)]
    {
        let (name, filter) = (name.map(str::to_owned), filter.map(str::to_owned));
        let page = model.list_items(REGION, plan, (name.as_ref(), filter.as_ref()), &paging, T0).unwrap();
        assert_eq!(page.total_count, expected, "{name:?} {filter:?}");
    }
    for (instance, filter, expected) in [
        ("rmq-a", None, Ok(2)),
        ("rmq-b", None, Ok(0)),
        ("rmq-a", Some("BILL"), Ok(1)),
        ("rmq-a", Some("copy"), Ok(2)),
        ("rmq-c", None, Err("Instance.NotFound")),
        ("", None, Err("MissinginstanceId")),
    ] {
        let (instance, filter) = (instance.to_owned(), filter.map(str::to_owned));
        let page = model.list_checkpoints(REGION, ids, (Some(&instance), filter.as_ref()), &paging, T0 + 100);
        let found = page.as_ref().map(|page| page.total_count).map_err(|failure| failure.code.as_str());
        assert_eq!(found, expected, "{instance} {filter:?}");
    }
}
